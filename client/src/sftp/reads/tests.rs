use proptest::prelude::*;

use super::*;

/// A file that is read; every request is answered when the test says so.
struct File {
    reads: Reads,
    asked: Vec<(u32, Part)>,
    next_id: u32,
    bytes: u64,
    delivered: Vec<(u64, usize)>,
}

impl File {
    fn new(bytes: u64, length: u32) -> Self {
        Self {
            reads: Reads::new(0, length),
            asked: Vec::new(),
            next_id: 0,
            bytes,
            delivered: Vec::new(),
        }
    }

    fn ask_all(&mut self) {
        while let Some(part) = self.reads.next() {
            self.next_id += 1;
            self.reads.ask(self.next_id, part);
            self.asked.push((self.next_id, part));
        }
    }

    /// Answers the request in place `nth`, with `most` bytes at most.
    fn answer(&mut self, nth: usize, most: u32) {
        let (id, part) = self.asked.swap_remove(nth);
        if part.offset >= self.bytes {
            self.reads.end_of_file(id).unwrap();
        } else {
            let left = u32::try_from((self.bytes - part.offset).min(1 << 30)).unwrap();
            let length = left.min(part.length).min(most).max(1);
            let content = Bytes::from(vec![0; length as usize]);
            self.reads.content(id, content).unwrap();
        }
        loop {
            let at = self.reads.delivered_to();
            let Some(content) = self.reads.deliver() else {
                break;
            };
            self.delivered.push((at, content.len()));
        }
    }
}

#[test]
fn what_is_outstanding_grows_and_stays_within_its_limits() {
    let mut file = File::new(1 << 40, 255 * 1024);
    file.ask_all();
    assert_eq!(file.asked.len(), FIRST_OUTSTANDING);
    for _ in 0..200 {
        let (nth, _) = file
            .asked
            .iter()
            .enumerate()
            .min_by_key(|(_, (_, part))| part.offset)
            .unwrap();
        file.answer(nth, u32::MAX);
        file.ask_all();
        let bytes: u64 = file
            .asked
            .iter()
            .map(|(_, part)| u64::from(part.length))
            .sum();
        assert!(bytes <= MAX_OUTSTANDING_BYTES as u64);
        assert!(file.asked.len() <= MAX_OUTSTANDING);
    }
    assert_eq!(file.asked.len(), MAX_OUTSTANDING);
}

#[test]
fn what_waits_for_a_late_answer_is_bounded() {
    let mut file = File::new(1 << 40, 255 * 1024);
    file.ask_all();
    // The first request is never answered, all others are.
    while file.asked.len() > 1 {
        let last = file.asked.len() - 1;
        let nth = (0..=last).find(|&n| file.asked[n].1.offset != 0).unwrap();
        file.answer(nth, u32::MAX);
        file.ask_all();
    }
    assert_eq!(file.delivered, []);
    let held: usize = file.reads.early.values().map(Bytes::len).sum();
    assert!(held <= MAX_OUTSTANDING_BYTES, "{held}");
}

#[test]
fn a_server_that_gives_less_is_asked_for_less() {
    let mut file = File::new(1 << 30, 255 * 1024);
    file.ask_all();
    file.answer(0, 32 * 1024);
    file.ask_all();
    let (_, rest) = file.asked[file.asked.len() - 2];
    assert_eq!(rest.offset, 32 * 1024);
    assert_eq!(file.asked.last().unwrap().1.length, 32 * 1024);
}

#[test]
fn with_the_size_known_one_request_asks_for_the_end() {
    let mut file = File::new(1000, 100);
    file.reads.expect_size(1000);
    file.ask_all();
    assert_eq!(file.asked.len(), 11);
    assert_eq!(file.asked.last().unwrap().1.offset, 1000);
}

#[test]
fn a_file_that_grew_is_read_to_its_end_all_the_same() {
    let mut file = File::new(1000, 100);
    file.reads.expect_size(500);
    while !file.reads.is_done() {
        file.ask_all();
        file.answer(0, u32::MAX);
    }
    assert_eq!(file.reads.delivered_to(), 1000);
}

#[test]
fn answers_that_no_server_may_give_are_refused() {
    let mut reads = Reads::new(0, 10);
    let part = reads.next().unwrap();
    reads.ask(1, part);
    assert_eq!(
        reads.content(2, Bytes::from_static(b"x")),
        Err(BadRead::Unasked)
    );
    assert_eq!(reads.end_of_file(2), Err(BadRead::Unasked));
    assert_eq!(reads.content(1, Bytes::new()), Err(BadRead::Empty));
    let part = reads.next().unwrap();
    reads.ask(3, part);
    assert_eq!(
        reads.content(3, Bytes::from_static(b"12345678901")),
        Err(BadRead::TooMuch)
    );
}

proptest! {
    #[test]
    fn whatever_the_order_and_size_of_answers_the_whole_file_comes_in_order(
        bytes in 0_u64..200_000,
        length in 1_u32..50_000,
        size in proptest::option::of(0_u64..300_000),
        choices in proptest::collection::vec((any::<usize>(), 1_u32..60_000), 1..400),
    ) {
        let mut file = File::new(bytes, length.max(SMALLEST_BYTES));
        if let Some(size) = size {
            file.reads.expect_size(size);
        }
        let mut turn = 0;
        while !file.reads.is_done() {
            file.ask_all();
            prop_assert!(!file.asked.is_empty(), "it would wait for ever");
            let (nth, most) = choices[turn % choices.len()];
            file.answer(nth % file.asked.len(), most.max(500));
            turn += 1;
        }
        let mut at = 0;
        for (offset, length) in &file.delivered {
            prop_assert_eq!(*offset, at);
            at += *length as u64;
        }
        prop_assert_eq!(at, bytes);
    }
}
