"""Opens and ends FTPS sessions one after another, then opens some that stay,
has each list a folder, says `ready`, and waits for the end of its standard input.

    idle_ftps.py HOST PORT USER PASSWORD FOLDER ENDED STAYING
"""

import ftplib
import ssl
import sys

host, port, user, password, folder, ended, staying = sys.argv[1:]

context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


def session():
    ftp = ftplib.FTP_TLS(context=context, timeout=60)
    ftp.connect(host, int(port))
    ftp.login(user, password)
    ftp.prot_p()
    ftp.retrlines("NLST " + folder, lambda line: None)
    return ftp


for _ in range(int(ended)):
    session().quit()
waiting = [session() for _ in range(int(staying))]

print("ready", flush=True)
sys.stdin.read()
