//! File content that is random, repeatable and able to prove itself whole.

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

/// One mebibyte.
pub const MIB: u64 = 1024 * 1024;

/// A repeatable source of random numbers (SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
    seed: u64,
}

impl Dice {
    /// The same seed gives the same numbers.
    pub fn seeded(seed: u64) -> Self {
        Self { state: seed, seed }
    }

    /// Seeded from `LAYOVER_TEST_SEED`, else from the system; the seed is printed so that a
    /// failure can be repeated.
    pub fn thrown(what: &str) -> Self {
        let seed = std::env::var("LAYOVER_TEST_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| RandomState::new().build_hasher().finish());
        println!("{what}: LAYOVER_TEST_SEED={seed}");
        Self::seeded(seed)
    }

    /// The seed these numbers come from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The next 64 bits.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// `count` random bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// Writes `size_bytes` of repeatable random content to `path` and returns its SHA-256.
pub fn write_file(path: &Path, size_bytes: u64, seed: u64) -> String {
    const CHUNK: u64 = 256 * 1024;
    let mut dice = Dice::seeded(seed);
    let mut file = BufWriter::new(File::create(path).expect("create content file"));
    let mut hash = Sha256::new();
    let mut left = size_bytes;
    while left > 0 {
        let chunk = dice.bytes(usize::try_from(left.min(CHUNK)).expect("a chunk fits"));
        hash.update(&chunk);
        file.write_all(&chunk).expect("write content");
        left -= chunk.len() as u64;
    }
    file.flush().expect("write content");
    hex::encode(hash.finalize())
}

/// SHA-256 of a file in lower-case hexadecimal.
pub fn sha256(path: &Path) -> String {
    let file = File::open(path).unwrap_or_else(|error| panic!("open {}: {error}", path.display()));
    sha256_of(file)
}

/// The same; `None` when nothing has the name any more.
pub fn sha256_if_there(path: &Path) -> Option<String> {
    match File::open(path) {
        Ok(file) => Some(sha256_of(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("open {}: {error}", path.display()),
    }
}

fn sha256_of(file: File) -> String {
    let mut file = BufReader::new(file);
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 256 * 1024];
    loop {
        let count = file.read(&mut chunk).expect("read file");
        if count == 0 {
            return hex::encode(hash.finalize());
        }
        hash.update(&chunk[..count]);
    }
}

/// Who wrote a sealed content, and as which of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// The uploader.
    pub uploader: u64,
    /// The uploader's count, growing.
    pub sequence: u64,
}

const MAGIC: &[u8; 8] = b"LAYOVER\n";
const HEADER: usize = 8 + 8 + 8 + 8 + 32;

/// Content that carries its own length and checksum: any other length or byte is noticed.
pub fn sealed(seal: Seal, payload_bytes: usize, dice: &mut Dice) -> Vec<u8> {
    let payload = dice.bytes(payload_bytes);
    let mut content = Vec::with_capacity(HEADER + payload.len());
    content.extend_from_slice(MAGIC);
    content.extend_from_slice(&seal.uploader.to_be_bytes());
    content.extend_from_slice(&seal.sequence.to_be_bytes());
    content.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    content.extend_from_slice(&Sha256::digest(&payload));
    content.extend_from_slice(&payload);
    content
}

/// Opens sealed content; says what is wrong with content that is not whole.
pub fn unseal(content: &[u8]) -> Result<Seal, String> {
    if content.len() < HEADER {
        return Err(format!("only {} bytes, less than a header", content.len()));
    }
    let (header, payload) = content.split_at(HEADER);
    let number = |at: usize| u64::from_be_bytes(header[at..at + 8].try_into().expect("8 bytes"));
    if &header[..8] != MAGIC {
        return Err("not sealed content".to_owned());
    }
    if number(24) != payload.len() as u64 {
        return Err(format!(
            "{} payload bytes instead of {}",
            payload.len(),
            number(24)
        ));
    }
    if header[32..] != Sha256::digest(payload)[..] {
        return Err("payload does not match its checksum".to_owned());
    }
    Ok(Seal {
        uploader: number(8),
        sequence: number(16),
    })
}

#[cfg(test)]
mod tests {
    use super::{Dice, HEADER, Seal, sealed, unseal};

    #[test]
    fn a_seal_notices_a_missing_byte_a_changed_byte_and_a_longer_file() {
        let seal = Seal {
            uploader: 3,
            sequence: 7,
        };
        let whole = sealed(seal, 1000, &mut Dice::seeded(1));
        assert_eq!(unseal(&whole), Ok(seal));
        assert!(unseal(&whole[..whole.len() - 1]).is_err());
        assert!(unseal(&[&whole[..], &b"x"[..]].concat()).is_err());
        let mut changed = whole;
        changed[HEADER + 500] ^= 1;
        assert!(unseal(&changed).is_err());
    }
}
