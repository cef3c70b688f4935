"""Ports of the loopback address that no other process is given: not even before a server comes to listen there."""

import socket


def reserve(port: int = 0) -> socket.socket:
    """A socket that keeps a port until it is closed: only who binds it with SO_REUSEPORT, as the
    fakes do that are told `--reserved`, gets it too. It does not listen, so that connections are refused."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind(("127.0.0.1", port))
    return reserved


def port_of(reserved: socket.socket) -> int:
    """The port that a socket keeps."""
    return int(reserved.getsockname()[1])
