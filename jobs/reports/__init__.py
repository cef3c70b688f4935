"""The report of a run: facts from what it left behind, a sample of its companies, and the page that shows both."""
