//! The two layers inside a message that can be opened: encryption and
//! compression. Each is given to the library as a reader of its own, so that
//! its end is proven here and not taken from the library's parser, which takes
//! some errors at the very end of a message for its end.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pgp::composed::{CompressedDataReader, Edata, MessageReader};

/// Set once an encrypted message was read to its end and its integrity check
/// passed there.
#[derive(Clone, Debug, Default)]
pub(super) struct Proof(Arc<AtomicBool>);

impl Proof {
    pub(super) fn holds(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is inside of the encryption. Its end is an end only when the integrity
/// check passed and nothing follows in the file.
pub(super) struct Opened<'a> {
    encrypted: Edata<'a>,
    proof: Proof,
}

impl<'a> Opened<'a> {
    /// `encrypted` must have its session key already.
    pub(super) fn new(encrypted: Edata<'a>, proof: Proof) -> Self {
        Self { encrypted, proof }
    }

    fn prove_end(&mut self) -> io::Result<()> {
        let done = match &self.encrypted {
            Edata::SymEncryptedProtectedData { reader } | Edata::GnupgAeadData { reader } => {
                reader.is_done()
            }
            Edata::SymEncryptedData { .. } => false,
        };
        if !done {
            return Err(invalid("the integrity check was not reached"));
        }
        nothing_follows(self.encrypted.get_mut().get_mut())?;
        self.proof.0.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl BufRead for Opened<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if !self.proof.holds() && self.encrypted.fill_buf()?.is_empty() {
            self.prove_end()?;
        }
        if self.proof.holds() {
            return Ok(&[]);
        }
        self.encrypted.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if amount > 0 {
            self.encrypted.consume(amount);
        }
    }
}

/// What is inside of a compressed packet. Its end is an end only when the layer
/// around it ends there, too.
pub(super) struct Unpacked<'a> {
    compressed: CompressedDataReader<MessageReader<'a>>,
    ended: bool,
}

impl<'a> Unpacked<'a> {
    /// `compressed` must have been told to decompress.
    pub(super) fn new(compressed: CompressedDataReader<MessageReader<'a>>) -> Self {
        Self {
            compressed,
            ended: false,
        }
    }

    fn prove_end(&mut self) -> io::Result<()> {
        let packet = self.compressed.get_mut();
        // Some programs write bytes behind the compressed stream's own end.
        while let rest = packet.fill_buf()?.len()
            && rest > 0
        {
            packet.consume(rest);
        }
        nothing_follows(packet.get_mut())?;
        self.ended = true;
        Ok(())
    }
}

impl BufRead for Unpacked<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if !self.ended && self.compressed.fill_buf()?.is_empty() {
            self.prove_end()?;
        }
        if self.ended {
            return Ok(&[]);
        }
        self.compressed.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if amount > 0 {
            self.compressed.consume(amount);
        }
    }
}

fn nothing_follows(reader: &mut MessageReader<'_>) -> io::Result<()> {
    if reader.fill_buf()?.is_empty() {
        Ok(())
    } else {
        Err(invalid("something follows the message"))
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

macro_rules! read_through_buffer {
    ($type:ident) => {
        impl Read for $type<'_> {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let read = self.fill_buf()?.read(into)?;
                self.consume(read);
                Ok(read)
            }
        }

        impl fmt::Debug for $type<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($type))
            }
        }
    };
}

read_through_buffer!(Opened);
read_through_buffer!(Unpacked);
