//! Requests that wait for budget, or for the account's limit of bytes a second, in little memory.
//!
//! Some clients ask for a whole file at once: paramiko's prefetch sends a READ
//! for every 32 KiB before it looks at the first reply, 327,680 of them for
//! 10 GiB. They are consecutive in number and offset, so they are kept as one
//! run; what a client can make us keep is bounded by the number of runs.

use std::collections::VecDeque;

use crate::codec::{Body, Handle, Request};

/// READs of equal length, consecutive in number and offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    id: u32,
    handle: Option<Handle>,
    offset: u64,
    length: u32,
    count: u32,
}

impl Run {
    /// The READ that would make this run longer by one.
    fn next(&self) -> Option<(u32, u64)> {
        let ahead = u64::from(self.length).checked_mul(u64::from(self.count))?;
        Some((
            self.id.wrapping_add(self.count),
            self.offset.checked_add(ahead)?,
        ))
    }

    fn take_first(&mut self) -> Request {
        let first = Request {
            id: self.id,
            body: Body::Read {
                handle: self.handle,
                offset: self.offset,
                length: self.length,
            },
        };
        self.id = self.id.wrapping_add(1);
        self.offset = self.offset.saturating_add(u64::from(self.length));
        self.count -= 1;
        first
    }
}

#[derive(Debug)]
enum Item {
    Reads(Run),
    Other(Request),
}

/// What a request moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moves {
    /// File data to the client.
    Down,
    /// File data from the client.
    Up,
    /// None.
    Nothing,
}

impl Moves {
    pub(crate) const fn by(body: &Body) -> Self {
        match body {
            Body::Read { .. } => Self::Down,
            Body::Write { .. } => Self::Up,
            _ => Self::Nothing,
        }
    }
}

/// The requests that wait for one handle, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Waiting(VecDeque<Item>);

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the oldest request moves.
    pub(crate) fn oldest(&self) -> Option<Moves> {
        self.0.front().map(|item| match item {
            Item::Reads(_) => Moves::Down,
            Item::Other(request) => Moves::by(&request.body),
        })
    }

    /// Adds a request behind all others; returns how many items are kept more
    /// than before: none when it lengthens the last run.
    pub(crate) fn push(&mut self, request: Request) -> usize {
        let item = match request.body {
            Body::Read {
                handle,
                offset,
                length,
            } => {
                if let Some(Item::Reads(run)) = self.0.back_mut()
                    && run.length == length
                    && run.count < u32::MAX
                    && run.next() == Some((request.id, offset))
                {
                    run.count += 1;
                    return 0;
                }
                Item::Reads(Run {
                    id: request.id,
                    handle,
                    offset,
                    length,
                    count: 1,
                })
            }
            body => Item::Other(Request {
                id: request.id,
                body,
            }),
        };
        self.0.push_back(item);
        1
    }

    /// Takes the oldest request; returns how many items are kept less.
    pub(crate) fn pop(&mut self) -> Option<(Request, usize)> {
        if let Some(Item::Reads(run)) = self.0.front_mut()
            && run.count > 1
        {
            return Some((run.take_first(), 0));
        }
        let request = match self.0.pop_front()? {
            Item::Reads(mut run) => run.take_first(),
            Item::Other(request) => request,
        };
        Some((request, 1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(id: u32, offset: u64, length: u32) -> Request {
        Request {
            id,
            body: Body::Read {
                handle: Some(Handle(3)),
                offset,
                length,
            },
        }
    }

    // S01: paramiko's prefetch.
    #[test]
    fn a_prefetch_of_ten_gibibytes_is_one_item() {
        let mut waiting = Waiting::default();
        let count = 10 * 1024 * 1024 / 32;
        let kept: usize = (0..count)
            .map(|n| waiting.push(read(n, u64::from(n) * 32_768, 32_768)))
            .sum();
        assert_eq!(kept, 1);
        for n in 0..count {
            let (request, gone) = waiting.pop().unwrap();
            assert_eq!(request, read(n, u64::from(n) * 32_768, 32_768));
            assert_eq!(gone, usize::from(n == count - 1));
        }
        assert!(waiting.is_empty());
    }

    proptest! {
        #[test]
        fn requests_come_out_as_they_went_in(
            steps in proptest::collection::vec((0_u32..3, 0_u64..3, 1_u32..3, any::<bool>()), 0..60),
        ) {
            let mut waiting = Waiting::default();
            let mut given = Vec::new();
            let mut items = 0;
            let (mut id, mut offset) = (u32::MAX - 5, 0_u64);
            for (skip_id, skip, length, is_read) in steps {
                id = id.wrapping_add(1 + skip_id / 2);
                offset += skip;
                let request = if is_read {
                    read(id, offset, length)
                } else {
                    Request { id, body: Body::Fstat { handle: Some(Handle(3)) } }
                };
                offset += u64::from(length);
                items += waiting.push(request.clone());
                given.push(request);
            }
            let mut got = Vec::new();
            while let Some((request, gone)) = waiting.pop() {
                items -= gone;
                got.push(request);
            }
            prop_assert_eq!(got, given);
            prop_assert_eq!(items, 0);
        }
    }
}
