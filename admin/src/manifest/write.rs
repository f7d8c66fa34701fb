//! Our own form, written. What cannot be exported is told in a comment.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use layover_depot::{
    ExpectationDefinition, Field, FlowDefinition, Integration, IntegrationSpec, SecretForm,
    SecretPurpose, SecretSlot, WantedLocation,
};

use super::read::SECRETS;
use super::{expectation, flow};

/// Lines of YAML, indented by levels.
#[derive(Default)]
pub(super) struct Lines(String);

impl Lines {
    fn indent(&mut self, level: usize) {
        self.0.extend(std::iter::repeat_n("  ", level));
    }

    pub(super) fn line(&mut self, level: usize, text: &str) {
        self.indent(level);
        self.0.push_str(text);
        self.0.push('\n');
    }

    pub(super) fn field(&mut self, level: usize, name: &str, text: &str) {
        self.indent(level);
        self.0.push_str(name);
        self.0.push(':');
        if is_block(text) {
            self.0.push_str(" |\n");
            for line in text.lines() {
                if line.is_empty() {
                    self.0.push('\n');
                } else {
                    self.line(level + 1, line);
                }
            }
        } else {
            self.0.push(' ');
            self.0.push_str(&scalar(text));
            self.0.push('\n');
        }
    }
}

/// Whether a text comes back from a literal block as it is: whole lines, ended once, the
/// first of which says how far they are indented.
fn is_block(text: &str) -> bool {
    let plain = |letter: char| matches!(letter, ' '..='~' | '\n');
    text.lines().nth(1).is_some()
        && text.chars().all(plain)
        && text.ends_with('\n')
        && !text.ends_with("\n\n")
        && !text.starts_with([' ', '\n'])
}

/// A text on one line: plain where every reader of YAML takes it for a text, else quoted.
pub(super) fn scalar(text: &str) -> String {
    const TAKEN: &[&str] = &["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_./@+-".contains(&byte);
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && text.bytes().all(letter)
        && !TAKEN.contains(&text.to_ascii_lowercase().as_str());
    if plain {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            // YAML 1.2, section 5.1: what is printable; the rest by its number.
            ' '..='~'
            | '\u{a0}'..='\u{2027}'
            | '\u{202a}'..='\u{d7ff}'
            | '\u{e000}'..='\u{fefe}'
            | '\u{ff00}'..='\u{fffd}'
            | '\u{10000}'.. => quoted.push(letter),
            other => quoted.push_str(&format!("\\U{:08x}", u32::from(other))),
        }
    }
    quoted.push('"');
    quoted
}

/// All of it, as `apply` takes it.
pub(crate) fn write(
    integrations: &[Integration],
    flows: &[FlowDefinition],
    expectations: &[ExpectationDefinition],
) -> String {
    let mut lines = Lines::default();
    lines.line(
        0,
        "# Written by `layover export`; `layover apply FILE` makes it so.",
    );
    if !integrations.is_empty() {
        lines.line(0, "integrations:");
        for integration in integrations {
            write_integration(&mut lines, integration);
        }
    }
    if !flows.is_empty() {
        lines.line(0, "flows:");
        for flow in flows {
            flow::write(&mut lines, flow);
        }
    }
    if !expectations.is_empty() {
        lines.line(0, "expectations:");
        for one in expectations {
            expectation::write(&mut lines, one);
        }
    }
    lines.0
}

fn write_integration(lines: &mut Lines, integration: &Integration) {
    let locations = integration.locations.iter();
    let locations = locations.map(|one| WantedLocation {
        name: one.name.clone(),
        path: one.path.clone(),
        direction: one.direction,
    });
    write_spec(
        lines,
        &integration.spec,
        Some(integration),
        &locations.collect::<Vec<_>>(),
    );
}

/// One integration without secrets and host keys.
#[cfg(test)]
pub(super) fn write_wanted(spec: &IntegrationSpec, locations: &[WantedLocation]) -> String {
    let mut lines = Lines::default();
    lines.line(0, "integrations:");
    write_spec(&mut lines, spec, None, locations);
    lines.0
}

fn write_spec(
    lines: &mut Lines,
    spec: &IntegrationSpec,
    integration: Option<&Integration>,
    locations: &[WantedLocation],
) {
    lines.line(1, &format!("{}:", key(spec.name.as_str())));
    let own = Field::EACH
        .iter()
        .filter(|field| !field.name().contains('.'));
    for field in own {
        if let Some(text) = field.get(spec) {
            let number = field.name() == "port";
            match number {
                true => lines.line(2, &format!("port: {text}")),
                false => lines.field(2, field.name(), &text),
            }
        }
    }
    if let Some(integration) = integration {
        write_secrets(lines, integration, "");
    }
    for part in ["ftps", "transfer", "listing", "sftp", "inbound", "outbound"] {
        let mut below = Lines::default();
        for field in Field::EACH {
            let Some((of, name)) = field.name().split_once('.') else {
                continue;
            };
            if of == part
                && let Some(text) = field.get(spec)
            {
                below.field(3, name, &text);
            }
        }
        if let Some(integration) = integration {
            write_secrets(&mut below, integration, part);
            if part == "sftp" {
                write_host_keys(&mut below, integration);
            }
        }
        if below.0.is_empty() {
            continue;
        }
        lines.line(2, &format!("{part}:"));
        lines.0.push_str(&below.0);
    }
    for secret in integration.map_or(&[][..], |integration| &integration.secrets) {
        if secret.purpose.is_made_here() && secret.slot == SecretSlot::Current {
            let text = match secret.purpose {
                SecretPurpose::SshKey => {
                    "# The SSH key pair was made here; its private key cannot be exported."
                }
                _ => "# The PGP key was made here; its private key cannot be exported.",
            };
            lines.line(2, text);
        }
    }
    // An empty list says that there are none; no list would leave what is there.
    if locations.is_empty() {
        lines.line(2, "locations: {}");
        return;
    }
    lines.line(2, "locations:");
    for location in locations {
        lines.line(3, &format!("{}:", key(location.name.as_str())));
        match location.path.to_str() {
            Some(path) => lines.field(4, "path", path),
            None => lines.field(4, "path_base64", &STANDARD.encode(location.path.as_bytes())),
        }
        lines.field(4, "direction", location.direction.as_str());
    }
}

/// Names may look like numbers.
pub(super) fn key(name: &str) -> String {
    scalar(name)
}

fn write_secrets(lines: &mut Lines, integration: &Integration, part: &str) {
    let level = if part.is_empty() { 2 } else { 3 };
    for (name, purpose) in SECRETS {
        let (of, own) = name.split_once('.').unwrap_or(("", name));
        let Some(secret) = integration.secret(*purpose, SecretSlot::Current) else {
            continue;
        };
        if of != part {
            continue;
        }
        match &secret.form {
            SecretForm::Reference(reference) => lines.field(level, own, reference.as_str()),
            SecretForm::Sealed { .. } => {
                let text = format!("# {own}: sealed in the database; it cannot be exported");
                lines.line(level, &text);
            }
        }
    }
}

fn write_host_keys(lines: &mut Lines, integration: &Integration) {
    let trusted = integration
        .host_keys
        .iter()
        .filter(|key| key.confirmed_at.is_some());
    let trusted: Vec<_> = trusted.map(|key| key.told()).collect();
    if trusted.is_empty() {
        return;
    }
    lines.line(3, "host_keys:");
    for told in trusted {
        lines.line(4, &format!("- {}", scalar(told)));
    }
}
