//! What FEAT says (RFC 2389).

use super::reply::Reply;

/// The features that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Features {
    pub(super) utf8: bool,
    pub(super) mlst: bool,
    pub(super) size: bool,
    pub(super) mdtm: bool,
    pub(super) rest_stream: bool,
    pub(super) hash_sha256: bool,
    pub(super) xsha256: bool,
}

impl Features {
    /// What is assumed of a server that has no FEAT: that it may know the
    /// commands which are older than FEAT.
    pub(super) const UNSAID: Self = Self {
        utf8: false,
        mlst: false,
        size: true,
        mdtm: true,
        rest_stream: true,
        hash_sha256: false,
        xsha256: false,
    };

    /// Reads the reply to FEAT.
    pub(super) fn read(reply: &Reply) -> Self {
        let mut features = Self::default();
        let inner = reply.lines.len().saturating_sub(2);
        for line in reply.lines.iter().skip(1).take(inner) {
            let line = String::from_utf8_lossy(line).to_ascii_uppercase();
            // Some servers set the code in front of every line.
            let line = line.trim().trim_start_matches("211-").trim_start();
            let (name, parameters) = line.split_once(' ').unwrap_or((line, ""));
            match name {
                "UTF8" => features.utf8 = true,
                "MLST" | "MLSD" => features.mlst = true,
                "SIZE" => features.size = true,
                "MDTM" => features.mdtm = true,
                "REST" => features.rest_stream = parameters.contains("STREAM"),
                "HASH" => features.hash_sha256 = parameters.contains("SHA-256"),
                "XSHA256" => features.xsha256 = true,
                _ => {}
            }
        }
        features
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Features {
        Features::read(&Reply {
            code: 211,
            lines: lines.iter().map(|line| line.as_bytes().to_vec()).collect(),
        })
    }

    #[test]
    fn features_of_real_servers_are_read() {
        let vsftpd = read(&[
            "Features:",
            " AUTH TLS",
            " EPRT",
            " EPSV",
            " MDTM",
            " PASV",
            " PBSZ",
            " PROT",
            " REST STREAM",
            " SIZE",
            " TVFS",
            "End",
        ]);
        assert_eq!(
            vsftpd,
            Features {
                size: true,
                mdtm: true,
                rest_stream: true,
                ..Features::default()
            }
        );
        let filezilla = read(&[
            "Features:",
            " MDTM",
            " REST STREAM",
            " SIZE",
            " MLST type*;size*;modify*;perm*;",
            " MLSD",
            " AUTH SSL",
            " AUTH TLS",
            " PROT",
            " PBSZ",
            " UTF8",
            " TVFS",
            " EPSV",
            " EPRT",
            " MFMT",
            "End",
        ]);
        assert!(filezilla.mlst && filezilla.utf8 && !filezilla.hash_sha256);
        assert!(read(&["x", " HASH SHA-256;SHA-512;SHA-1*", "End"]).hash_sha256);
        assert!(!read(&["x", " HASH CRC32;MD5*", "End"]).hash_sha256);
        assert!(read(&["x", "211-XSHA256", "End"]).xsha256);
    }
}
