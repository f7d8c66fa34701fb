//! A client of the console that sends exactly what it is told to, and a strict reader of
//! Prometheus' text format.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::wait::PATIENCE;

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status line's code.
    pub status: u16,
    /// Headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// What followed them.
    pub body: String,
}

/// Connects; nothing is sent.
pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("connect to the console");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("set time-out");
    stream
}

/// Sends `request` as it is and reads until the end; none when nothing came.
pub fn exchange(to: SocketAddr, request: &str) -> Option<Answer> {
    let mut stream = connect(to);
    // Who is turned away may be told so by a reset.
    let _ = stream.write_all(request.as_bytes());
    read_answer(stream)
}

/// Reads an answer to its end; none when nothing came.
pub fn read_answer(mut stream: TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    if bytes.is_empty() {
        let timed_out = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out, "neither an answer nor an end");
        return None;
    }
    let text = String::from_utf8(bytes).expect("an answer in UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer's head");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
    let status = status
        .and_then(|rest| rest.get(..3))
        .expect("a status line");
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").expect("a header");
        (name.to_ascii_lowercase(), value.to_owned())
    });
    Some(Answer {
        status: status.parse().expect("a status"),
        headers: headers.collect(),
        body: body.to_owned(),
    })
}

/// Asks for `path`.
pub fn get(from: SocketAddr, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: console\r\n\r\n");
    exchange(from, &request).expect("an answer")
}

/// A sample: its name, its labels, its value.
pub type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

/// Reads the text format 0.0.4 and refuses whatever is not strictly it: each family's HELP and
/// TYPE once and before its samples, samples of a family together, none twice, histograms whole
/// and adding up.
///
/// # Panics
/// When it is not.
pub fn parse_metrics(text: &str) -> Samples {
    assert!(text.ends_with('\n'), "the last line must end");
    let mut families: BTreeMap<String, String> = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut samples = Samples::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert_name(name);
            assert!(!help.is_empty() && helped.insert(name.to_owned()), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(helped.contains(name), "HELP comes first: {line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(
                families.insert(name.to_owned(), kind.to_owned()).is_none(),
                "{line}"
            );
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            current = name.to_owned();
        } else {
            let (name, labels, value) = sample(line);
            let kind = families.get(&current).expect("a sample of a family");
            let suffix = name
                .strip_prefix(&current)
                .unwrap_or_else(|| panic!("astray: {line}"));
            let suffixes: &[&str] = match kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(suffixes.contains(&suffix), "{line}");
            assert_eq!(suffix == "_bucket", labels.contains_key("le"), "{line}");
            assert!(kind == "gauge" || value >= 0.0, "{line}");
            assert!(
                samples.insert((name, labels), value).is_none(),
                "twice: {line}"
            );
        }
    }
    for (name, kind) in &families {
        if kind == "histogram" {
            check_histogram(name, &samples);
        }
    }
    samples
}

fn assert_name(name: &str) {
    let mut characters = name.chars();
    let first = characters.next().expect("a name");
    assert!(
        first.is_ascii_alphabetic() || "_:".contains(first),
        "{name}"
    );
    assert!(
        characters.all(|other| other.is_ascii_alphanumeric() || "_:".contains(other)),
        "{name}"
    );
}

fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let value = match value {
        "+Inf" => f64::INFINITY,
        value => value
            .parse()
            .unwrap_or_else(|_| panic!("no number: {line}")),
    };
    let Some((name, rest)) = series.split_once('{') else {
        assert_name(series);
        return (series.to_owned(), BTreeMap::new(), value);
    };
    assert_name(name);
    let mut rest = rest.strip_suffix('}').expect("the end of the labels");
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"").expect("a label");
        assert_name(label);
        let mut text = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().expect("the end of a label's value") {
                (at, '"') => break at,
                (_, '\\') => text.push(match characters.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, same @ ('\\' | '"'))) => same,
                    other => panic!("no such escape: {other:?}"),
                }),
                (_, other) => text.push(other),
            }
        };
        assert!(labels.insert(label.to_owned(), text).is_none(), "{line}");
        rest = &after[end + 1..];
        if !rest.is_empty() {
            rest = rest.strip_prefix(',').expect("a comma between labels");
            assert!(!rest.is_empty(), "{line}");
        }
    }
    (name.to_owned(), labels, value)
}

fn check_histogram(name: &str, samples: &Samples) {
    let mut series: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
    for ((sample, labels), value) in samples {
        if *sample == format!("{name}_bucket") {
            let mut labels = labels.clone();
            let bound = labels.remove("le").expect("a bound");
            let bound = bound.parse().expect("a bound that is a number");
            series.entry(labels).or_default().push((bound, *value));
        }
    }
    for (labels, mut buckets) in series {
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert!(
            buckets.is_sorted_by_key(|(_, count)| *count),
            "{name} {labels:?}"
        );
        let (last, all) = buckets.last().expect("a bucket");
        assert!(last.is_infinite(), "{name} {labels:?}");
        assert_eq!(samples[&(format!("{name}_count"), labels.clone())], *all);
        assert!(samples.contains_key(&(format!("{name}_sum"), labels)));
    }
}
