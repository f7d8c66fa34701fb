//! rustls' own client against the record layer, and a forger who has the client's keys.

use std::io::{Read, Write};
use std::sync::Arc;

use proptest::prelude::*;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ClientConnection, Error, RootCertStore};
use tokio::io::duplex;

use super::*;
use crate::tls::stream::RecordStream;
use crate::tls::tests::{connect, tls};
use crate::tls::{ClientCertificates, provider};

/// The suites that an ECDSA certificate can have: three of each version.
fn suites() -> Vec<SupportedCipherSuite> {
    let mut suites = provider().cipher_suites.clone();
    suites.retain(|suite| !format!("{suite:?}").contains("_RSA_"));
    assert_eq!(suites.len(), 6);
    suites
}

fn one_of(version: Version) -> SupportedCipherSuite {
    let wanted = suites().into_iter().find(|suite| {
        let is_tls13 = matches!(suite, SupportedCipherSuite::Tls13(_));
        is_tls13 == (version == Version::Tls13)
    });
    wanted.unwrap()
}

const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

/// Our end and the client's, after a handshake.
async fn pair(suite: SupportedCipherSuite) -> (Records, ClientConnection) {
    let tls = tls();
    let mut only = CryptoProvider::clone(&provider());
    only.cipher_suites = vec![suite];
    let mut roots = RootCertStore::empty();
    roots.add(tls.identity().key.cert[0].clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(only))
        .with_protocol_versions(&[suite.version()])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    let (ours, theirs) = duplex(65_536);
    let session = tls.control(ClientCertificates::Ignored).unwrap();
    let accept = RecordStream::accept(session.data().config, ours, |_| ());
    let (served, connected) = tokio::join!(accept, connect(&config, theirs));
    let (_, mut client) = connected.unwrap().into_inner();
    client.set_buffer_limit(None);
    (served.unwrap().0.into_records(), client)
}

/// Our end, and the client's keys.
async fn forger(version: Version) -> (Records, Direction) {
    let (records, client) = pair(one_of(version)).await;
    let secrets = client.dangerous_extract_secrets().unwrap();
    (records, Direction::new(version, secrets.tx).unwrap())
}

impl Direction {
    fn record(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut room = vec![0; content.len() + OVERHEAD_BYTES];
        let length = self.seal(kind, content, &mut room).unwrap();
        room.truncate(length);
        room
    }

    /// TLS 1.3: behind content and type come so many zeros, one at least.
    fn padded(&mut self, kind: u8, content: &[u8], zeros: usize) -> Vec<u8> {
        let inner = [content, &[kind], &vec![0; zeros - 1]].concat();
        self.record(0, &inner)
    }
}

fn sealed(client: &mut ClientConnection, plain: &[u8]) -> Vec<u8> {
    client.writer().write_all(plain).unwrap();
    flushed(client)
}

fn flushed(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// What the client reads of it.
fn read(client: &mut ClientConnection, mut sealed: &[u8]) -> Result<Vec<u8>, Error> {
    let mut plain = Vec::new();
    while !sealed.is_empty() {
        client.read_tls(&mut sealed).unwrap();
        let state = client.process_new_packets()?;
        let from = plain.len();
        plain.resize(from + state.plaintext_bytes_to_read(), 0);
        client.reader().read_exact(&mut plain[from..]).unwrap();
    }
    Ok(plain)
}

/// Opens all records of `bytes`, of which there must be no rest.
fn open_all(records: &mut Records, mut bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut room = vec![0; MAX_RECORD_BYTES];
    let mut plain = Vec::new();
    while !bytes.is_empty() {
        match records.open(bytes, &mut room)? {
            Step::Took {
                record_bytes,
                plain_bytes,
            } => {
                bytes = &bytes[record_bytes..];
                plain.extend_from_slice(&room[..plain_bytes]);
            }
            step => panic!("{step:?}"),
        }
    }
    Ok(plain)
}

fn open_one(records: &mut Records, bytes: &[u8]) -> Result<Step, Fault> {
    records.open(bytes, &mut vec![0; MAX_RECORD_BYTES])
}

fn empty(record: &[u8]) -> Result<Step, Fault> {
    Ok(Step::Took {
        record_bytes: record.len(),
        plain_bytes: 0,
    })
}

fn ours(records: &mut Records, plain: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut room = vec![0; Records::room_bytes(plain.len())];
    let length = records.seal(plain, &mut room)?;
    room.truncate(length);
    Ok(room)
}

fn our_alert(records: &mut Records, alert: AlertDescription) -> Vec<u8> {
    let mut room = vec![0; Records::room_bytes(1)];
    let length = records.seal_alert(alert, &mut room).unwrap();
    room.truncate(length);
    room
}

/// Of any size, and never the same.
fn content(size: usize) -> Vec<u8> {
    (0..size)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 11).to_le_bytes()[0] ^ 0x5a)
        .collect()
}

const SIZES: [usize; 12] = [
    1, 2, 15, 16, 17, 1000, 16_383, 16_384, 16_385, 40_000, 65_536, 300_001,
];

#[tokio::test]
async fn every_suite_carries_every_size_both_ways() {
    for suite in suites() {
        let (mut records, mut client) = pair(suite).await;
        for size in SIZES {
            let plain = content(size);
            let theirs = sealed(&mut client, &plain);
            assert!(
                open_all(&mut records, &theirs) == Ok(plain.clone()),
                "{suite:?}: {size} up"
            );
            let ours = ours(&mut records, &plain).unwrap();
            assert!(
                read(&mut client, &ours) == Ok(plain),
                "{suite:?}: {size} down"
            );
        }
        client.send_close_notify();
        let end = flushed(&mut client);
        assert_eq!(open_one(&mut records, &end), Ok(Step::Closed), "{suite:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn records_of_any_sizes_open_in_their_order(
        suite in 0_usize..6,
        sizes in prop::collection::vec(1_usize..20_000, 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (mut records, mut client) = runtime.block_on(pair(suites()[suite]));
        let (mut theirs, mut expected) = (Vec::new(), Vec::new());
        for size in sizes {
            theirs.extend(sealed(&mut client, &content(size)));
            expected.extend(content(size));
        }
        prop_assert!(open_all(&mut records, &theirs) == Ok(expected.clone()));
        let ours = ours(&mut records, &expected).unwrap();
        prop_assert!(read(&mut client, &ours) == Ok(expected));
    }

    #[test]
    fn whatever_the_client_did_not_seal_brings_nothing(
        is_tls13 in any::<bool>(),
        header in (prop::sample::select(vec![20_u8, 21, 22, 23, 0, 128]), any::<u8>(), any::<u8>(), 0_usize..20_000),
        junk in prop::collection::vec(any::<u8>(), 0..20_000),
    ) {
        let version = if is_tls13 { Version::Tls13 } else { Version::Tls12 };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (mut records, _) = runtime.block_on(forger(version));
        let (kind, major, minor, size) = header;
        let [high, low] = length(size).unwrap();
        let bytes = [&[kind, major, minor, high, low][..], &junk].concat();
        match open_one(&mut records, &bytes) {
            Ok(step) => prop_assert_eq!(step, Step::NeedsMore),
            Err(fault) => prop_assert!(fault.alert().is_some()),
        }
        prop_assert_eq!(records.opening.sequence, if is_tls13 { 0 } else { 1 });
    }
}

#[tokio::test]
async fn a_record_waits_for_its_last_byte() {
    for suite in suites() {
        let (mut records, mut client) = pair(suite).await;
        let record = sealed(&mut client, b"some bytes");
        for came in 0..record.len() {
            let step = open_one(&mut records, &record[..came]);
            assert_eq!(step, Ok(Step::NeedsMore), "{suite:?}: {came} bytes");
        }
        // What is behind it is another's.
        let bytes = [&record[..], &record[..7]].concat();
        let mut room = [0; 100];
        let step = records.open(&bytes, &mut room);
        let record_bytes = record.len();
        let plain_bytes = 10;
        assert_eq!(
            step,
            Ok(Step::Took {
                record_bytes,
                plain_bytes
            })
        );
        assert_eq!(&room[..plain_bytes], b"some bytes");
    }
}

#[tokio::test]
async fn a_record_without_room_is_opened_later() {
    for version in VERSIONS {
        let (mut records, mut forger) = forger(version).await;
        let record = forger.record(APPLICATION_DATA, b"bytes");
        let plain = records.opening.plain_bytes(record.len() - HEADER_BYTES);
        let mut room = [0; 100];
        for size in 0..plain.unwrap() {
            let step = records.open(&record, &mut room[..size]);
            assert_eq!(step, Ok(Step::NeedsRoom));
        }
        assert_eq!(open_all(&mut records, &record), Ok(b"bytes".to_vec()));
    }
}

#[tokio::test]
async fn a_flipped_bit_anywhere_in_a_record_is_noticed() {
    for suite in suites() {
        let (mut records, mut client) = pair(suite).await;
        let record = sealed(&mut client, b"sixteen bytes ok");
        for at in 0..record.len() {
            for bit in 0..8 {
                let mut damaged = record.clone();
                damaged[at] ^= 1 << bit;
                match open_one(&mut records, &damaged) {
                    // The length grew.
                    Ok(Step::NeedsMore) => assert!((3..5).contains(&at)),
                    Err(Fault::Unexpected) => assert_eq!(at, 0),
                    Err(Fault::TooLong) => assert_eq!(at, 3),
                    Err(fault) => assert_eq!(fault, Fault::Forged, "{suite:?}: byte {at}"),
                    Ok(step) => panic!("{suite:?}: byte {at}: {step:?}"),
                }
            }
        }
        // Nothing of it counted.
        let plain = open_all(&mut records, &record);
        assert_eq!(plain, Ok(b"sixteen bytes ok".to_vec()));
    }
}

#[tokio::test]
async fn a_record_out_of_its_order_is_forged() {
    for suite in suites() {
        let (mut records, mut client) = pair(suite).await;
        let first = sealed(&mut client, b"first");
        let second = sealed(&mut client, b"second");
        assert_eq!(open_one(&mut records, &second), Err(Fault::Forged));
        assert_eq!(open_all(&mut records, &first), Ok(b"first".to_vec()));
        assert_eq!(open_one(&mut records, &first), Err(Fault::Forged));
        assert_eq!(open_all(&mut records, &second), Ok(b"second".to_vec()));
    }
}

#[tokio::test]
async fn padding_is_taken_off() {
    for zeros in [1, 2, 255, MAX_PLAIN_BYTES - 4] {
        let (mut records, mut forger) = forger(Version::Tls13).await;
        let record = forger.padded(APPLICATION_DATA, b"text", zeros);
        assert_eq!(open_all(&mut records, &record), Ok(b"text".to_vec()));
        // Zeros of the content stay.
        let record = forger.padded(APPLICATION_DATA, b"\0\0", 1);
        assert_eq!(open_all(&mut records, &record), Ok(vec![0, 0]));
    }
    let (mut records, mut forger) = forger(Version::Tls13).await;
    let record = forger.padded(APPLICATION_DATA, b"text", MAX_PLAIN_BYTES - 3);
    assert_eq!(open_one(&mut records, &record), Err(Fault::TooLong));
}

#[tokio::test]
async fn a_record_of_padding_alone_has_no_type() {
    for size in [0, 1, 100, MAX_PLAIN_BYTES] {
        let (mut records, mut forger) = forger(Version::Tls13).await;
        let record = forger.record(0, &vec![0; size]);
        assert_eq!(open_one(&mut records, &record), Err(Fault::Unexpected));
    }
}

#[tokio::test]
async fn a_record_one_byte_too_long_is_refused() {
    for version in VERSIONS {
        let (mut records, mut forger) = forger(version).await;
        let longest = forger.record(APPLICATION_DATA, &content(MAX_PLAIN_BYTES));
        assert!(open_all(&mut records, &longest) == Ok(content(MAX_PLAIN_BYTES)));
        let longer = forger.record(APPLICATION_DATA, &content(MAX_PLAIN_BYTES + 1));
        assert_eq!(open_one(&mut records, &longer), Err(Fault::TooLong));
        // And what could not be opened is not even waited for.
        let most = version.max_sealed_bytes();
        for (size, expected) in [
            (most, Ok(Step::NeedsMore)),
            (most + 1, Err(Fault::TooLong)),
            (65_535, Err(Fault::TooLong)),
        ] {
            let [high, low] = length(size).unwrap();
            let header = [APPLICATION_DATA, 3, 3, high, low];
            assert_eq!(open_one(&mut records, &header), expected, "{size}");
        }
    }
}

#[tokio::test]
async fn a_record_without_room_for_its_tag_is_forged() {
    for suite in suites() {
        let (mut records, _) = pair(suite).await;
        let least = records.opening.explicit_bytes() + TAG_BYTES;
        for size in 0..=least {
            let [high, low] = length(size).unwrap();
            let header = [APPLICATION_DATA, 3, 3, high, low];
            let record = [&header[..], &vec![0; size]].concat();
            assert_eq!(open_one(&mut records, &record), Err(Fault::Forged));
        }
    }
}

#[tokio::test]
async fn only_close_notify_is_a_proper_end() {
    for version in VERSIONS {
        let is_tls12 = version == Version::Tls12;
        for (alert, expected) in [
            (&[WARNING, 0][..], Ok(Step::Closed)),
            (&[FATAL, 0], Ok(Step::Closed)),
            (
                &[FATAL, 40],
                Err(Fault::Alerted(AlertDescription::HandshakeFailure)),
            ),
            (
                &[FATAL, 90],
                Err(Fault::Alerted(AlertDescription::UserCanceled)),
            ),
            (&[3, 0], Err(Fault::IllegalValue)),
            (&[0, 0], Err(Fault::IllegalValue)),
            (&[], Err(Fault::Malformed)),
            (&[FATAL], Err(Fault::Malformed)),
            (&[WARNING, 0, 0], Err(Fault::Malformed)),
        ] {
            let (mut records, mut forger) = forger(version).await;
            let record = forger.record(ALERT, alert);
            assert_eq!(open_one(&mut records, &record), expected, "{alert:?}");
        }
        let (mut records, mut forger) = forger(version).await;
        let canceled = forger.record(ALERT, &[WARNING, 90]);
        assert_eq!(open_one(&mut records, &canceled), empty(&canceled));
        let other = forger.record(ALERT, &[WARNING, 41]);
        let expected = match is_tls12 {
            true => empty(&other),
            false => Err(Fault::Alerted(AlertDescription::NoCertificate)),
        };
        assert_eq!(open_one(&mut records, &other), expected);
    }
}

#[tokio::test]
async fn new_keys_of_the_client_are_followed() {
    for suite in suites() {
        if let SupportedCipherSuite::Tls12(_) = suite {
            continue;
        }
        let (mut records, mut client) = pair(suite).await;
        for round in 0..5 {
            let mut theirs = sealed(&mut client, b"old ");
            client.refresh_traffic_keys().unwrap();
            theirs.extend(sealed(&mut client, b"new "));
            client.refresh_traffic_keys().unwrap();
            theirs.extend(sealed(&mut client, b"newer"));
            let plain = open_all(&mut records, &theirs);
            assert_eq!(plain, Ok(b"old new newer".to_vec()), "round {round}");
            // It asked for ours, which come before the next data.
            assert!(records.must_renew);
            let answer = ours(&mut records, b"answer").unwrap();
            assert_eq!(read(&mut client, &answer), Ok(b"answer".to_vec()));
            assert!(!records.must_renew);
        }
    }
}

#[tokio::test]
async fn a_key_update_may_come_in_pieces() {
    let whole = [&KEY_UPDATE[..], &[UPDATE_NOT_REQUESTED]].concat();
    for cut in 1..whole.len() {
        let (mut records, mut forger) = forger(Version::Tls13).await;
        for piece in [&whole[..cut], &whole[cut..]] {
            let record = forger.record(HANDSHAKE, piece);
            assert_eq!(open_one(&mut records, &record), empty(&record));
        }
        let old = forger.record(APPLICATION_DATA, b"old key");
        assert_eq!(open_one(&mut records, &old), Err(Fault::Forged));
        assert_eq!(records.opening.sequence, 0);
        assert!(!records.must_renew);
    }
}

#[tokio::test]
async fn what_is_no_key_update_is_refused() {
    for (message, expected) in [
        (&[24, 0, 0, 1, 2][..], Fault::IllegalValue),
        (&[24, 0, 0, 2, 0], Fault::Malformed),
        (&[24, 1], Fault::Malformed),
        // RFC 8446 s.4.6.3: nothing of the old key comes behind it.
        (&[24, 0, 0, 1, 0, 24], Fault::Unexpected),
        (&[4, 0, 0, 1, 0], Fault::Unexpected),
        (&[0], Fault::Unexpected),
        (&[], Fault::Unexpected),
    ] {
        let (mut records, mut forger) = forger(Version::Tls13).await;
        let record = forger.record(HANDSHAKE, message);
        assert_eq!(open_one(&mut records, &record), Err(expected));
    }
    for kind in [APPLICATION_DATA, ALERT] {
        let (mut records, mut forger) = forger(Version::Tls13).await;
        let begun = forger.record(HANDSHAKE, &KEY_UPDATE);
        assert_eq!(open_one(&mut records, &begun), empty(&begun));
        let other = forger.record(kind, &[WARNING, 0]);
        assert_eq!(open_one(&mut records, &other), Err(Fault::Unexpected));
    }
}

#[tokio::test]
async fn what_belongs_into_a_handshake_may_not_come_behind_it() {
    let client_hello = [1, 0, 0, 0];
    for version in VERSIONS {
        for (kind, content) in [(HANDSHAKE, &client_hello[..]), (20, &[1]), (24, &[1])] {
            let (mut records, mut forger) = forger(version).await;
            let record = forger.record(kind, content);
            assert_eq!(open_one(&mut records, &record), Err(Fault::Unexpected));
            // In the clear, as ChangeCipherSpec is (RFC 8446 s.5).
            let record = [kind, 3, 3, 0, 1, 1];
            let expected = match (version, kind) {
                (Version::Tls12, HANDSHAKE) => Fault::Forged,
                _ => Fault::Unexpected,
            };
            assert_eq!(open_one(&mut records, &record), Err(expected));
        }
    }
}

#[tokio::test]
async fn records_that_bring_nothing_are_counted() {
    for version in VERSIONS {
        for (kind, content) in [(APPLICATION_DATA, &[][..]), (ALERT, &[WARNING, 90])] {
            let (mut records, mut forger) = forger(version).await;
            // Data in between, and the count begins again.
            for _ in 0..2 {
                for _ in 0..MAX_EMPTY_RECORDS {
                    let record = forger.record(kind, content);
                    assert_eq!(open_one(&mut records, &record), empty(&record));
                }
                let record = forger.record(APPLICATION_DATA, b"x");
                assert_eq!(open_all(&mut records, &record), Ok(b"x".to_vec()));
            }
            for _ in 0..MAX_EMPTY_RECORDS {
                let record = forger.record(kind, content);
                assert_eq!(open_one(&mut records, &record), empty(&record));
            }
            let record = forger.record(kind, content);
            assert_eq!(open_one(&mut records, &record), Err(Fault::Unexpected));
        }
    }
}

#[tokio::test]
async fn the_client_understands_each_alert() {
    for version in VERSIONS {
        for fault in [
            Fault::Forged,
            Fault::TooLong,
            Fault::Unexpected,
            Fault::Malformed,
            Fault::IllegalValue,
            Fault::KeysUsedUp,
            Fault::Unable,
        ] {
            let (mut records, mut client) = pair(one_of(version)).await;
            let alert = fault.alert().unwrap();
            let record = our_alert(&mut records, alert);
            assert_eq!(
                read(&mut client, &record),
                Err(Error::AlertReceived(alert)),
                "{fault:?}"
            );
        }
        let (mut records, mut client) = pair(one_of(version)).await;
        let record = our_alert(&mut records, AlertDescription::CloseNotify);
        client.read_tls(&mut &record[..]).unwrap();
        assert!(client.process_new_packets().unwrap().peer_has_closed());
    }
    let alerted = Fault::Alerted(AlertDescription::HandshakeFailure);
    assert_eq!(alerted.alert(), None);
}

#[tokio::test]
async fn no_key_seals_more_records_than_it_may() {
    const LIMIT: u64 = 20;
    let plain = content(100 * MAX_PLAIN_BYTES);
    for version in VERSIONS {
        let (mut records, mut client) = pair(one_of(version)).await;
        records.seal_limit = LIMIT;
        if version == Version::Tls13 {
            // In one piece or in many.
            let all = ours(&mut records, &plain).unwrap();
            assert!(read(&mut client, &all) == Ok(plain.clone()));
            for _ in 0..3 * LIMIT {
                let one = ours(&mut records, b"x").unwrap();
                assert_eq!(read(&mut client, &one), Ok(b"x".to_vec()));
                assert!(records.sealing.sequence <= LIMIT);
            }
            continue;
        }
        // The handshake's Finished was the first, and the last is the alert's.
        for _ in 1..LIMIT - 1 {
            let one = ours(&mut records, b"x").unwrap();
            assert_eq!(read(&mut client, &one), Ok(b"x".to_vec()));
        }
        assert_eq!(ours(&mut records, b"x"), Err(Fault::KeysUsedUp));
        let alert = our_alert(&mut records, AlertDescription::InternalError);
        assert!(read(&mut client, &alert).is_err());
        assert_eq!(records.sealing.sequence, LIMIT);
    }
}

#[tokio::test]
async fn rustls_limits_are_ours() {
    for suite in suites() {
        let (records, _) = pair(suite).await;
        let is_gcm = format!("{suite:?}").contains("GCM");
        // RFC 8446 s.5.5: 2^24.5 records of full size.
        let expected = if is_gcm {
            1 << 23..=1 << 24
        } else {
            u64::MAX..=u64::MAX
        };
        assert!(expected.contains(&records.seal_limit), "{suite:?}");
    }
}

#[tokio::test]
async fn a_sequence_number_never_comes_twice() {
    for version in VERSIONS {
        let (mut records, mut forger) = forger(version).await;
        let last = u64::MAX - 1;
        (forger.sequence, records.opening.sequence) = (last, last);
        let record = forger.record(APPLICATION_DATA, b"last");
        assert_eq!(open_all(&mut records, &record), Ok(b"last".to_vec()));
        let mut room = [0; 100];
        let more = forger.seal(APPLICATION_DATA, b"more", &mut room);
        assert_eq!(more, Err(Fault::KeysUsedUp));
        records.sealing.sequence = u64::MAX;
        records.seal_limit = u64::MAX;
        let alert = records.seal_alert(AlertDescription::CloseNotify, &mut room);
        assert_eq!(alert, Err(Fault::KeysUsedUp));
    }
}

#[tokio::test]
async fn too_little_room_to_seal_is_told() {
    for version in VERSIONS {
        let (mut records, _) = forger(version).await;
        for size in 0..21 {
            let sealed = records.seal(b"", &mut vec![0; size]);
            assert_eq!(sealed, Ok(0));
            let sealed = records.seal(b"x", &mut vec![0; size]);
            assert_eq!(sealed, Err(Fault::Unable));
        }
    }
}
