//! The text format of Prometheus, version 0.0.4
//! (https://prometheus.io/docs/instrumenting/exposition_formats/).

use std::fmt::Write;

/// Its content type.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of values a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A label's name and value.
pub(crate) type Label<'a> = (&'static str, &'a str);

/// A text that grows family by family.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    text: String,
    name: &'static str,
}

impl Exposition {
    /// Begins a family; what follows belongs to it.
    pub(crate) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> &mut Self {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.name = name;
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        self
    }

    /// A family of one value without labels.
    pub(crate) fn single(&mut self, name: &'static str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help).sample(&[], value);
    }

    /// A value of the family.
    pub(crate) fn sample(&mut self, labels: &[Label<'_>], value: f64) -> &mut Self {
        self.line("", labels, value);
        self
    }

    /// The histogram of the family with these labels: how many values lie below each
    /// bound and above the one before, the last above all, and their sum.
    pub(crate) fn histogram(
        &mut self,
        labels: &[Label<'_>],
        bounds: &[u64],
        counts: &[u64],
        sum: f64,
    ) {
        let mut below = 0_u64;
        let names = bounds.iter().map(u64::to_string);
        for (count, bound) in counts.iter().zip(names.chain(["+Inf".to_owned()])) {
            below = below.saturating_add(*count);
            let mut labels = labels.to_vec();
            labels.push(("le", &bound));
            self.line("_bucket", &labels, as_f64(below));
        }
        self.line("_sum", labels, sum);
        self.line("_count", labels, as_f64(below));
    }

    /// The whole.
    pub(crate) fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, suffix: &str, labels: &[Label<'_>], value: f64) {
        let name = self.name;
        self.put(format_args!("{name}{suffix}"));
        for (number, (label, text)) in labels.iter().enumerate() {
            let before = if number == 0 { '{' } else { ',' };
            let text = escaped(text);
            self.put(format_args!("{before}{label}=\"{text}\""));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        self.put(format_args!(" {value}\n"));
    }

    fn put(&mut self, what: std::fmt::Arguments<'_>) {
        // Writing to a string never fails.
        let _ = self.text.write_fmt(what);
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A number as the format has it: doubles, exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "the format knows no other numbers, and what is lost is below 1 in 10^15"
)]
pub(crate) fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_told_once_and_values_of_labels_are_escaped() {
        let mut text = Exposition::default();
        text.family("a_total", Kind::Counter, "What it is.")
            .sample(&[("x", "1\\2\"3\n4"), ("y", "")], 5.0)
            .sample(&[], 0.25);
        assert_eq!(
            text.finish(),
            "# HELP a_total What it is.\n# TYPE a_total counter\n\
             a_total{x=\"1\\\\2\\\"3\\n4\",y=\"\"} 5\na_total 0.25\n"
        );
    }

    #[test]
    fn the_buckets_of_a_histogram_add_up() {
        let mut text = Exposition::default();
        text.family("h", Kind::Histogram, "H.")
            .histogram(&[("p", "q")], &[1, 5], &[2, 0, 1], 9.5);
        assert_eq!(
            text.finish(),
            "# HELP h H.\n# TYPE h histogram\nh_bucket{p=\"q\",le=\"1\"} 2\n\
             h_bucket{p=\"q\",le=\"5\"} 2\nh_bucket{p=\"q\",le=\"+Inf\"} 3\n\
             h_sum{p=\"q\"} 9.5\nh_count{p=\"q\"} 3\n"
        );
    }
}
