use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use serde_json::value::RawValue;

use super::{Fault, Flaw, MAX_LINE_BYTES, Verified, Verifier};
use crate::Timestamp;
use crate::chain::{ChainHead, ChainName, Checkpoint, PublicKey, SEED_BYTES, SigningKey};
use crate::export::{EXPORT_FORMAT, Line};

const CHAIN: ChainName = ChainName::Certificates;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; SEED_BYTES]).unwrap()
}

fn at() -> Timestamp {
    "2026-11-21T04:39:13Z".parse().unwrap()
}

fn record(seq: u64) -> String {
    format!("{{\"path\":\"/in/{seq}\",  \"size\":{seq}}}")
}

/// An export of the entries after `pruned`, with a checkpoint after every third.
fn export(pruned: u64, last: u64) -> Vec<String> {
    let signer = key(1);
    let mut head = ChainHead::EMPTY;
    let mut after: Option<Checkpoint> = None;
    for seq in 1..=pruned {
        head = head.next(CHAIN, record(seq).as_bytes());
        after = Some(signer.pruning(CHAIN, head, at()));
    }
    let mut lines = vec![Line::Chain {
        format: EXPORT_FORMAT,
        chain: CHAIN,
        after,
        keys: vec![signer.public()],
    }];
    for seq in pruned + 1..=last {
        head = head.next(CHAIN, record(seq).as_bytes());
        lines.push(Line::Entry {
            seq,
            hash: head.hash,
            record: RawValue::from_string(record(seq)).unwrap(),
        });
        if seq % 3 == 0 && seq != last {
            lines.push(Line::Checkpoint(signer.checkpoint(CHAIN, head, at())));
        }
    }
    lines.push(Line::Checkpoint(signer.checkpoint(CHAIN, head, at())));
    lines.iter().map(|line| line.to_text().unwrap()).collect()
}

fn verify_with(lines: &[String], keys: &[PublicKey]) -> Result<Verified, Flaw> {
    let mut verifier = Verifier::new(keys);
    for line in lines {
        verifier.line(line.as_bytes())?;
    }
    verifier.end()
}

fn verify(lines: &[String]) -> Result<Verified, Flaw> {
    verify_with(lines, &[key(1).public()])
}

fn flaw(lines: &[String]) -> (u64, Fault) {
    let flaw = verify(lines).unwrap_err();
    (flaw.line, flaw.fault)
}

/// Where an entry stands in `lines`.
fn index_of(lines: &[String], seq: u64) -> usize {
    let start = format!("{{\"entry\":{{\"seq\":{seq},");
    lines
        .iter()
        .position(|line| line.starts_with(&start))
        .unwrap()
}

#[test]
fn a_whole_export_holds() {
    let verified = verify(&export(0, 7)).unwrap();
    let expected = Verified {
        chain: CHAIN,
        entries: 7,
        first_seq: 1,
        last_seq: 7,
        signed_at: at(),
        checkpoints: 3,
    };
    assert_eq!(verified, expected);
}

#[test]
fn an_export_after_pruning_holds_from_its_signed_checkpoint_on() {
    let verified = verify(&export(4, 7)).unwrap();
    assert_eq!(
        (verified.entries, verified.first_seq, verified.last_seq),
        (3, 5, 7)
    );
    let nothing_left = verify(&export(4, 4)).unwrap();
    assert_eq!((nothing_left.entries, nothing_left.last_seq), (0, 4));
}

#[test]
fn a_chain_without_entries_holds() {
    let verified = verify(&export(0, 0)).unwrap();
    assert_eq!(
        (verified.entries, verified.first_seq, verified.last_seq),
        (0, 1, 0)
    );
}

#[test]
fn a_changed_record_is_named() {
    let mut lines = export(0, 7);
    let at = index_of(&lines, 5);
    lines[at] = lines[at].replace("/in/5", "/in/6");
    assert_eq!(flaw(&lines), (at as u64 + 1, Fault::Changed { seq: 5 }));
}

#[test]
fn white_space_of_a_record_counts_too() {
    let mut lines = export(0, 7);
    let at = index_of(&lines, 5);
    lines[at] = lines[at].replace(",  ", ", ");
    assert_eq!(flaw(&lines).1, Fault::Changed { seq: 5 });
}

#[test]
fn dropped_records_are_named_from_the_first_to_the_last() {
    let mut lines = export(0, 7);
    lines.remove(index_of(&lines, 4));
    let gap = index_of(&lines, 5) as u64 + 1;
    assert_eq!(flaw(&lines), (gap, Fault::Missing { first: 4, last: 4 }));
    lines.remove(index_of(&lines, 5));
    assert_eq!(flaw(&lines).1, Fault::Missing { first: 4, last: 5 });
    let text = verify(&lines).unwrap_err().to_string();
    assert!(
        text.contains("entry 4 is missing, and all up to entry 5"),
        "{text}"
    );
}

#[test]
fn a_record_dropped_before_a_checkpoint_is_missing() {
    let mut lines = export(0, 7);
    lines.remove(index_of(&lines, 3));
    assert_eq!(flaw(&lines).1, Fault::Missing { first: 3, last: 3 });
    let mut lines = export(0, 7);
    lines.remove(index_of(&lines, 7));
    assert_eq!(flaw(&lines).1, Fault::Missing { first: 7, last: 7 });
}

#[test]
fn exchanged_records_are_named() {
    let mut lines = export(0, 7);
    let (four, six) = (index_of(&lines, 4), index_of(&lines, 5));
    lines.swap(four, six);
    let expected = Fault::Reordered {
        seq: 5,
        expected: 4,
    };
    assert_eq!(flaw(&lines), (four as u64 + 1, expected));
}

#[test]
fn a_record_that_comes_twice_is_named() {
    let mut lines = export(0, 7);
    let at = index_of(&lines, 4);
    lines.insert(at + 1, lines[at].clone());
    let expected = Fault::Reordered {
        seq: 4,
        expected: 5,
    };
    assert_eq!(flaw(&lines), (at as u64 + 2, expected));
}

#[test]
fn an_end_that_was_cut_off_is_named_wherever_it_was_cut() {
    let lines = export(0, 8);
    for kept in 1..lines.len() {
        let cut = &lines[..kept];
        // A file that ends at a checkpoint is a whole, older export.
        if cut
            .last()
            .is_some_and(|line| line.contains("{\"checkpoint\":"))
        {
            assert!(verify(cut).is_ok());
            continue;
        }
        let (line, fault) = flaw(cut);
        assert_eq!(line, kept as u64 + 1);
        assert!(matches!(fault, Fault::CutOff { .. }), "{kept}: {fault:?}");
    }
    assert_eq!(flaw(&[]), (1, Fault::NoBeginning));
}

#[test]
fn a_chain_computed_anew_is_not_believed() {
    let mut lines = export(0, 7);
    let last = lines.len() - 1;
    // The whole of a shorter, "repaired" chain, with an old checkpoint at its end.
    let mut head = ChainHead::EMPTY;
    for seq in 1..=7 {
        let text = record(seq + 10);
        head = head.next(CHAIN, text.as_bytes());
        let entry = Line::Entry {
            seq,
            hash: head.hash,
            record: RawValue::from_string(text).unwrap(),
        };
        let at = index_of(&lines, seq);
        lines[at] = entry.to_text().unwrap();
    }
    let first_checkpoint = index_of(&lines, 3) as u64 + 2;
    assert_eq!(
        flaw(&lines),
        (first_checkpoint, Fault::OtherHistory { seq: 3 })
    );
    let only_last: Vec<_> = lines
        .iter()
        .enumerate()
        .filter(|(at, line)| *at == last || !line.contains("{\"checkpoint\":"))
        .map(|(_, line)| line.clone())
        .collect();
    assert_eq!(flaw(&only_last).1, Fault::OtherHistory { seq: 7 });
    // Nor when it is signed by a key of the forger's.
    let mut own = only_last;
    let signed = key(9).checkpoint(CHAIN, head, at());
    *own.last_mut().unwrap() = Line::Checkpoint(signed).to_text().unwrap();
    assert!(matches!(flaw(&own).1, Fault::UnknownKey { seq: 7, .. }));
}

#[test]
fn a_signature_by_another_key_of_the_same_name_is_wrong() {
    let mut lines = export(0, 2);
    let last = lines.len() - 1;
    let digits = "\"signature\":\"";
    let at = lines[last].find(digits).unwrap() + digits.len();
    let flipped = if lines[last].as_bytes()[at] == b'0' {
        "1"
    } else {
        "0"
    };
    lines[last].replace_range(at..=at, flipped);
    assert_eq!(flaw(&lines).1, Fault::BadSignature { seq: 2 });
}

#[test]
fn a_pruned_beginning_needs_its_signature() {
    let lines = export(4, 7);
    let mut forged = lines.clone();
    forged[0] = forged[0].replace("\"seq\":4", "\"seq\":3");
    assert_eq!(flaw(&forged), (1, Fault::BadSignature { seq: 3 }));
    let unknown = verify_with(&lines, &[key(2).public()]).unwrap_err();
    assert!(matches!(unknown.fault, Fault::UnknownKey { seq: 4, .. }));
}

#[test]
fn a_beginning_that_was_cut_off_at_an_ordinary_checkpoint_is_missed() {
    let lines = export(0, 7);
    let Line::Checkpoint(third) = serde_json::from_str(&lines[index_of(&lines, 3) + 1]).unwrap()
    else {
        panic!("a checkpoint follows every third entry");
    };
    let mut cut = vec![
        Line::Chain {
            format: EXPORT_FORMAT,
            chain: CHAIN,
            after: Some(third),
            keys: Vec::new(),
        }
        .to_text()
        .unwrap(),
    ];
    cut.extend_from_slice(&lines[index_of(&lines, 4)..]);
    assert_eq!(flaw(&cut), (1, Fault::NotPruned { last: 3 }));
    // Nor is a pruning one a place where the chain stood.
    let mut pruned = export(4, 7);
    let last = pruned.len() - 1;
    let Line::Checkpoint(end) = serde_json::from_str(&pruned[last]).unwrap() else {
        panic!("the last line is a checkpoint");
    };
    let other = key(1).pruning(CHAIN, end.head, at());
    pruned[last] = Line::Checkpoint(other).to_text().unwrap();
    assert_eq!(flaw(&pruned).1, Fault::BadSignature { seq: 7 });
}

#[test]
fn lines_that_are_none_of_ours_are_named() {
    let lines = export(0, 3);
    for (text, what) in [
        (String::new(), "nothing"),
        ("{}".to_owned(), "no type"),
        ("{\"entry\":{}}".to_owned(), "no fields"),
        ("x".repeat(MAX_LINE_BYTES + 1), "too long"),
        (
            lines[1].replace("\"seq\":1", "\"seq\":1,\"more\":1"),
            "unknown field",
        ),
    ] {
        let mut broken = lines.clone();
        broken[1] = text;
        let (line, fault) = flaw(&broken);
        assert!(matches!(fault, Fault::Unreadable(_)), "{what}: {fault:?}");
        assert_eq!(line, 2, "{what}");
    }
    assert_eq!(flaw(&lines[1..]), (1, Fault::NoBeginning));
    let joined = [lines.clone(), lines.clone()].concat();
    assert_eq!(
        flaw(&joined),
        (lines.len() as u64 + 1, Fault::SecondBeginning)
    );
    let mut newer = lines;
    newer[0] = newer[0].replace("\"format\":1", "\"format\":2");
    assert_eq!(flaw(&newer), (1, Fault::Format(2)));
}

proptest! {
    #[test]
    fn any_single_flip_drop_swap_or_cut_is_found(
        pruned in 0..4_u64,
        count in 1..20_u64,
        kind in 0..4,
        place in any::<proptest::sample::Index>(),
        other in any::<proptest::sample::Index>(),
        bit in 0..7_u32,
    ) {
        let whole = export(pruned, pruned + count);
        prop_assert!(verify(&whole).is_ok());
        let mut broken = whole.clone();
        let entries: Vec<usize> = (0..whole.len()).filter(|at| whole[*at].contains("{\"entry\":")).collect();
        let at = *place.get(&entries);
        match kind {
            0 => {
                // The record's own bytes.
                let begin = broken[at].find("\"record\":").unwrap() + 9;
                let byte = begin + other.index(broken[at].len() - begin - 2);
                let mut bytes = broken[at].clone().into_bytes();
                bytes[byte] ^= 1 << bit;
                let mut verifier_lines: Vec<Vec<u8>> = broken.iter().map(|line| line.clone().into_bytes()).collect();
                verifier_lines[at] = bytes;
                let keys = [key(1).public()];
                let mut verifier = Verifier::new(&keys);
                let result = verifier_lines.iter().try_for_each(|line| verifier.line(line)).and_then(|()| verifier.end());
                let flaw = result.unwrap_err();
                prop_assert_eq!(flaw.line, at as u64 + 1);
                return Ok(());
            }
            1 => { broken.remove(at); }
            2 => {
                let with = *other.get(&entries);
                if at == with { return Ok(()); }
                broken.swap(at, with);
            }
            _ => broken.truncate(at + 1),
        }
        let found = verify(&broken);
        prop_assert!(found.is_err(), "kind {kind} at {at}: {found:?}");
    }
}
