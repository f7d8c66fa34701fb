"""Moves files with paramiko, as a partner's Python script would."""

import argparse
import logging
import sys

import paramiko

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
    parser.add_argument("verb", choices=["put", "get", "prefetch", "list"])
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


def prefetch(sftp, remote, local):
    """Asks for the whole file at once, then reads it: the requests that hung other servers."""
    size = sftp.stat(remote).st_size
    with sftp.open(remote, "rb") as source, open(local, "wb") as target:
        source.prefetch(size)
        while chunk := source.read(READ_SIZE):
            target.write(chunk)


def main():
    args = arguments()
    logging.basicConfig(level=logging.WARNING)
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
            case "list":
                for name in sorted(sftp.listdir(args.paths[0] if args.paths else "/")):
                    print(name)
    finally:
        transport.close()


if __name__ == "__main__":
    sys.exit(main())
