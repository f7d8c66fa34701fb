"""Moves files with paramiko, as a partner's Python script would."""

import argparse
import logging
import sys

import paramiko
from paramiko.auth_handler import AuthHandler
from paramiko.common import MSG_USERAUTH_INFO_REQUEST, cMSG_USERAUTH_REQUEST

READ_SIZE = 32768


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--key")
    parser.add_argument("--password")
    parser.add_argument("--interactive", action="store_true",
                        help="answer keyboard-interactive with the password")
    parser.add_argument("verb", choices=["put", "get", "prefetch", "list", "edit", "questions"])
    parser.add_argument("paths", nargs="*")
    return parser.parse_args()


def connect(args):
    transport = paramiko.Transport((args.host, args.port))
    transport.start_client(timeout=30)
    if args.key:
        transport.auth_publickey(args.user, paramiko.Ed25519Key.from_private_key_file(args.key))
    elif args.interactive:
        transport.auth_interactive(
            args.user, lambda title, instructions, prompts: [args.password for _ in prompts])
    else:
        transport.auth_password(args.user, args.password, fallback=False)
    return transport


def questions(args):
    """Has itself asked for the password again and again; how often that was done."""
    transport = paramiko.Transport((args.host, args.port))
    transport.start_client(timeout=30)
    asked = 0

    def ask_again(_handler, _question):
        nonlocal asked
        asked += 1
        request = paramiko.Message()
        request.add_byte(cMSG_USERAUTH_REQUEST)
        for text in (args.user, "ssh-connection", "keyboard-interactive", "", ""):
            request.add_string(text)
        transport._send_message(request)

    AuthHandler._client_handler_table = {
        **AuthHandler._client_handler_table, MSG_USERAUTH_INFO_REQUEST: ask_again}
    try:
        transport.auth_interactive(args.user, lambda title, instructions, prompts: [])
    except (paramiko.SSHException, EOFError):
        return asked
    raise SystemExit("logged in without a password")


def prefetch(sftp, remote, local):
    """Asks for the whole file at once, then reads it: the requests that hung other servers."""
    size = sftp.stat(remote).st_size
    with sftp.open(remote, "rb") as source, open(local, "wb") as target:
        source.prefetch(size)
        while chunk := source.read(READ_SIZE):
            target.write(chunk)


def edit(sftp, remote):
    """Changes a file in every way that Python scripts do; it holds 0123456789 before."""
    with sftp.open(remote, "ab") as file:
        file.write(b"abc")
        file.write(b"def")
    with sftp.open(remote, "r+b") as file:
        file.seek(2)
        file.write(b"XY")
        file.seek(0)
        assert file.read(6) == b"01XY45"
    sftp.truncate(remote, 14)
    with sftp.open(remote, "r+b") as file:
        file.truncate(13)
    with sftp.open(remote + ".new", "wb") as file:
        file.seek(10)
        file.write(b"end")
        file.seek(0)
        file.write(b"start")
    with sftp.open(remote + ".exclusive", "wxb") as file:
        file.write(b"once")
    try:
        sftp.open(remote + ".exclusive", "wxb")
    except IOError:
        pass
    else:
        raise AssertionError("an exclusive open over a file")
    # The last second that SFTP v3 can say, and one that a signed reader takes for 1969.
    for seconds in (0xFFFFFFFF, 0x80000000, 0):
        sftp.utime(remote, (seconds, seconds))
        assert sftp.stat(remote).st_mtime == seconds, (seconds, sftp.stat(remote))
    sftp.chmod(remote, 0o640)
    sftp.posix_rename(remote + ".exclusive", remote + ".renamed")
    assert sftp.normalize(".") == "/"


def main():
    args = arguments()
    logging.basicConfig(level=logging.WARNING)
    if args.verb == "questions":
        print(questions(args))
        return
    transport = connect(args)
    try:
        sftp = paramiko.SFTPClient.from_transport(transport)
        match args.verb:
            case "put":
                local, remote = args.paths
                sftp.put(local, remote)
            case "get":
                remote, local = args.paths
                sftp.get(remote, local)
            case "prefetch":
                remote, local = args.paths
                prefetch(sftp, remote, local)
            case "edit":
                edit(sftp, args.paths[0])
            case "list":
                for name in sorted(sftp.listdir(args.paths[0] if args.paths else "/")):
                    print(name)
    finally:
        transport.close()


if __name__ == "__main__":
    sys.exit(main())
