//! TYPE A: line ends on the wire are CRLF, in files LF. Both ways work on
//! chunks: what a chunk leaves open, the next one ends.

/// File to wire: LF becomes CRLF; a CRLF stays.
#[derive(Debug, Default)]
pub(crate) struct ToWire {
    after_cr: bool,
}

impl ToWire {
    /// The wire's form of the file's next bytes.
    pub(crate) fn convert(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 16);
        for byte in bytes {
            if *byte == b'\n' && !self.after_cr {
                out.push(b'\r');
            }
            self.after_cr = *byte == b'\r';
            out.push(*byte);
        }
        out
    }
}

/// Wire to file: CRLF becomes LF; a CR alone stays.
#[derive(Debug, Default)]
pub(crate) struct FromWire {
    held_cr: bool,
}

impl FromWire {
    /// The file's form of the wire's next bytes.
    pub(crate) fn convert(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + 1);
        for byte in bytes {
            if std::mem::take(&mut self.held_cr) && *byte != b'\n' {
                out.push(b'\r');
            }
            if *byte == b'\r' {
                self.held_cr = true;
            } else {
                out.push(*byte);
            }
        }
        out
    }

    /// What the last chunk held back.
    pub(crate) fn finish(self) -> &'static [u8] {
        if self.held_cr { b"\r" } else { b"" }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn to_wire(pieces: &[&[u8]]) -> Vec<u8> {
        let mut wire = ToWire::default();
        pieces
            .iter()
            .flat_map(|piece| wire.convert(piece))
            .collect()
    }

    fn from_wire(pieces: &[&[u8]]) -> Vec<u8> {
        let mut file = FromWire::default();
        let mut out: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| file.convert(piece))
            .collect();
        out.extend_from_slice(file.finish());
        out
    }

    #[test]
    fn line_ends_are_converted_over_the_borders_of_chunks() {
        assert_eq!(to_wire(&[b"a\nb\r", b"\nc"]), b"a\r\nb\r\nc");
        assert_eq!(from_wire(&[b"a\r", b"\nb\r", b"c\r"]), b"a\nb\rc\r");
        assert_eq!(from_wire(&[b"\r\r\n"]), b"\r\n");
    }

    proptest! {
        #[test]
        fn a_text_comes_back_as_it_was(lines in proptest::collection::vec("[a-z]{0,5}", 0..8), cut in 0_usize..40) {
            let text = lines.join("\n").into_bytes();
            let wire = to_wire(&[&text]);
            let (first, second) = wire.split_at(cut.min(wire.len()));
            prop_assert_eq!(from_wire(&[first, second]), text);
        }
    }
}
