use super::*;

#[test]
fn replies_of_real_servers_are_told_apart() {
    use RemoteFault as F;
    use Step as S;
    let unsupported = F::Unsupported {
        what: "the command or its parameters",
    };
    for (step, code, text, fault) in [
        // vsftpd
        (S::Login, 530, "Login incorrect.", F::LoginRefused),
        (
            S::Login,
            421,
            "There are too many connected users, please try later.",
            F::TooManyConnections,
        ),
        (
            S::Login,
            421,
            "There are too many connections from your internet address.",
            F::TooManyConnections,
        ),
        (S::Command, 421, "Timeout.", F::ConnectionLost),
        (
            S::List,
            522,
            "SSL connection failed; session reuse required: see require_ssl_reuse option in vsftpd.conf man page",
            F::SessionReuseDemanded,
        ),
        (S::Download, 550, "Failed to open file.", F::Refused),
        (S::Upload, 553, "Could not create file.", F::NotPermitted),
        (S::Remove, 550, "Permission denied.", F::NotPermitted),
        (
            S::Upload,
            426,
            "Failure reading network stream.",
            F::Truncated,
        ),
        // ProFTPD
        (
            S::Download,
            425,
            "Unable to build data connection: Operation not permitted",
            F::SessionReuseDemanded,
        ),
        (
            S::Download,
            550,
            "/in/x: No such file or directory",
            F::NotFound,
        ),
        (S::Command, 550, "/in: File exists", F::AlreadyExists),
        (S::Upload, 550, "x: Permission denied", F::NotPermitted),
        (
            S::Upload,
            451,
            "x: Append/Restart not permitted, try again",
            F::NotPermitted,
        ),
        (
            S::Upload,
            552,
            "Transfer aborted: Disk quota exceeded",
            F::NoSpace,
        ),
        (
            S::Login,
            530,
            "Sorry, the maximum number of clients (3) for this user are already connected.",
            F::TooManyConnections,
        ),
        // pure-ftpd
        (
            S::Download,
            550,
            "Can't open x: No such file or directory",
            F::NotFound,
        ),
        (
            S::Upload,
            452,
            "Disk full - please upload later",
            F::NoSpace,
        ),
        // FileZilla Server
        (
            S::List,
            450,
            "TLS session of data connection has not resumed or the session does not match the control connection",
            F::SessionReuseDemanded,
        ),
        (
            S::List,
            425,
            "Unable to build data connection: TLS session of data connection not resumed.",
            F::SessionReuseDemanded,
        ),
        (S::Download, 550, "Couldn't open the file", F::Refused),
        // IIS
        (
            S::Download,
            550,
            "The system cannot find the file specified. ",
            F::NotFound,
        ),
        (S::Remove, 550, "Access is denied. ", F::NotPermitted),
        (
            S::Rename,
            550,
            "Cannot create a file when that file already exists. ",
            F::AlreadyExists,
        ),
        (
            S::Remove,
            550,
            "The process cannot access the file because it is being used by another process. ",
            F::Busy,
        ),
        (
            S::Download,
            550,
            "Das System kann die angegebene Datei nicht finden. ",
            F::NotFound,
        ),
        (
            S::Handshake,
            534,
            "Local policy on server does not allow TLS secure connections.",
            F::TlsRefused,
        ),
        (S::Handshake, 500, "AUTH not understood", F::TlsRefused),
        (
            S::Command,
            502,
            "Command not implemented.",
            unsupported.clone(),
        ),
        (S::Command, 500, "Unknown command.", unsupported),
        // 450 and 522 outside of transfers are no word on TLS.
        (S::Remove, 450, "file busy", F::Busy),
    ] {
        let reply = Reply {
            code,
            lines: vec![text.as_bytes().to_vec()],
        };
        assert_eq!(of_reply(step, &reply), fault, "{step:?} {code} {text}");
    }
}

#[test]
fn certificates_are_refused_by_their_cause() {
    use CertificateError as C;
    for (defect, fault) in [
        (C::Expired, RemoteFault::CertificateExpired),
        (C::NotValidYet, RemoteFault::CertificateExpired),
        (C::UnknownIssuer, RemoteFault::CertificateUntrusted),
    ] {
        let error = io::Error::new(
            io::ErrorKind::InvalidData,
            rustls::Error::InvalidCertificate(defect),
        );
        assert_eq!(of_io(&error), fault);
    }
}
