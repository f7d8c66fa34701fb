"""Moves files with ftplib, as a partner's Python script would."""

import argparse
import ftplib
import io
import ssl
import time


class Implicit(ftplib.FTP_TLS):
    """TLS from the first byte, which ftplib does not know."""

    _sock = None

    @property
    def sock(self):
        return self._sock

    @sock.setter
    def sock(self, value):
        if value is not None and not isinstance(value, ssl.SSLSocket):
            value = self.context.wrap_socket(value)
        self._sock = value


class Resuming:
    """Data connections resume the control connection's TLS session."""

    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        return self.context.wrap_socket(conn, session=self.sock.session), size


class ResumingExplicit(Resuming, ftplib.FTP_TLS):
    pass


class ResumingImplicit(Resuming, Implicit):
    pass


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--implicit", action="store_true")
    parser.add_argument("--resume", action="store_true",
                        help="resume the control connection's session on data connections")
    parser.add_argument("--tls12", action="store_true")
    parser.add_argument("--active", action="store_true",
                        help="let the server connect")
    parser.add_argument("verb", choices=["put", "get", "half", "list", "many", "resume", "names"])
    parser.add_argument("paths", nargs="*")
    return parser.parse_args()


def connect(args):
    context = ssl._create_unverified_context()
    if args.tls12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if args.implicit:
        kind = ResumingImplicit if args.resume else Implicit
    else:
        kind = ResumingExplicit if args.resume else ftplib.FTP_TLS
    ftp = kind(context=context, timeout=60)
    ftp.connect(args.host, args.port)
    ftp.login(args.user, args.password)
    ftp.prot_p()
    ftp.set_pasv(not args.active)
    return ftp


def half(ftp, local, remote):
    """Sends the first half, and resumes behind it after a bare end of the data connection."""
    with open(local, "rb") as source:
        content = source.read()
    middle = len(content) // 2
    ftp.voidcmd("TYPE I")
    conn = ftp.transfercmd("STOR " + remote)
    conn.sendall(content[:middle])
    # Without close_notify.
    conn.shutdown(2)
    conn.close()
    try:
        ftp.voidresp()
    except ftplib.error_temp as refusal:
        print("refused:", refusal)
    print("left:", ftp.size(remote))
    conn = ftp.transfercmd("STOR " + remote, rest=ftp.size(remote))
    conn.sendall(content[middle:])
    conn.unwrap()
    conn.close()
    print(ftp.voidresp())


def many(ftp, count, size):
    """Uploads so many files of this size, and says how many milliseconds each took."""
    for number in range(count):
        begun = time.perf_counter()
        ftp.storbinary("STOR /small-%d" % number, io.BytesIO(b"x" * size))
        print("%.3f" % (1000 * (time.perf_counter() - begun)))


def resume(ftp, local, remote, target):
    """Goes on with an upload that broke off, and with a download that did."""
    ftp.voidcmd("TYPE I")
    there = ftp.size(remote)
    print("there:", there)
    with open(local, "rb") as source:
        source.seek(there)
        print(ftp.storbinary("STOR " + remote, source, rest=there))
    with open(target, "ab") as part:
        print(ftp.retrbinary("RETR " + remote, part.write, rest=part.tell()))


def names(ftp, remote, moved):
    """Renames, lists in all ways, and deletes."""
    ftp.rename(remote, moved)
    print("nlst:", ftp.nlst())
    ftp.dir(lambda line: print("list:", line))
    print("mlsd:", [name for name, _ in ftp.mlsd()])
    print(ftp.delete(moved))


def main():
    args = arguments()
    ftp = connect(args)
    if args.verb == "put":
        with open(args.paths[0], "rb") as source:
            print(ftp.storbinary("STOR " + args.paths[1], source))
    elif args.verb == "get":
        with open(args.paths[1], "wb") as target:
            print(ftp.retrbinary("RETR " + args.paths[0], target.write))
    elif args.verb == "half":
        half(ftp, *args.paths)
    elif args.verb == "many":
        many(ftp, *map(int, args.paths))
    elif args.verb == "resume":
        resume(ftp, *args.paths)
    elif args.verb == "names":
        names(ftp, *args.paths)
    elif args.verb == "list":
        for name, facts in ftp.mlsd(args.paths[0]):
            print(name, facts["type"], facts.get("x.layover-expires", "-"))
    print(ftp.quit())


main()
