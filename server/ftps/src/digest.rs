//! Checksums of files, for HASH and the X commands.

use crate::command::Checksum;

const CRC_32: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// A checksum that grows.
pub(crate) enum Digest {
    Crc32(crc::Digest<'static, u32>),
    Md5(md5::Md5),
    Sha256(aws_lc_rs::digest::Context),
}

impl Digest {
    pub(crate) fn new(algorithm: Checksum) -> Self {
        static CRC: crc::Crc<u32> = CRC_32;
        match algorithm {
            Checksum::Crc32 => Self::Crc32(CRC.digest()),
            Checksum::Md5 => Self::Md5(md5::Digest::new()),
            Checksum::Sha256 => {
                Self::Sha256(aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256))
            }
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32(crc) => crc.update(bytes),
            Self::Md5(md5) => md5::Digest::update(md5, bytes),
            Self::Sha256(sha) => sha.update(bytes),
        }
    }

    /// In hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        match self {
            Self::Crc32(crc) => format!("{:08X}", crc.finalize()),
            Self::Md5(md5) => hex::encode(md5::Digest::finalize(md5)),
            Self::Sha256(sha) => hex::encode(sha.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_known_ones_however_the_bytes_come() {
        for (algorithm, expected) in [
            (Checksum::Crc32, "CBF43926"),
            (Checksum::Md5, "25f9e794323b453885f5181f1b624d0b"),
            (
                Checksum::Sha256,
                "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
            ),
        ] {
            let mut digest = Digest::new(algorithm);
            digest.update(b"1234");
            digest.update(b"56789");
            assert_eq!(digest.finish(), expected);
        }
    }
}
