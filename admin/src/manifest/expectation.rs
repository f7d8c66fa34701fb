//! Files that are expected, as YAML.

use layover_depot::{
    AccountName, ExpectationDefinition, ExpectationName, ExpectationRules, ExpectedPlace,
    FlowTarget, HomeFolder,
};

use super::Mistake;
use super::node::Node;
use super::read::Fields;
use super::write::{Lines, key, scalar};
use crate::value::ByteSize;

/// Reads an expectation.
pub(super) fn read(
    name: ExpectationName,
    node: &Node,
    path: &str,
    mistakes: &mut Vec<Mistake>,
) -> Option<ExpectationDefinition> {
    let before = mistakes.len();
    let line = node.line;
    let mut fields = Fields::of(node, path, mistakes)?;
    let enabled = fields.switch("enabled", true, mistakes);
    let place = place(&mut fields, line, path, mistakes);
    let expected = "the name of a file, perhaps with * and ?, $yyyyMMdd for the day, $HHmm for any \
                    time and $$ for a $";
    let file = fields.needed("file", expected, line, mistakes);
    let by = fields.needed("by", "a time of day: HH:MM", line, mistakes);
    let usual = ExpectationRules::default();
    let size = "a size, e.g. 1MB or 500KiB";
    let mut bytes = |name| {
        let size: Option<ByteSize> = fields.value(name, size, mistakes);
        size.map(|size| size.0)
    };
    let (min_size_bytes, max_size_bytes) = (bytes("min_size"), bytes("max_size"));
    let rules = ExpectationRules {
        days: fields
            .value(
                "days",
                "days of the week as in crontab, e.g. 1-5 or mon,thu",
                mistakes,
            )
            .unwrap_or_default(),
        date_offset: fields
            .value("date_offset", "a number of days, e.g. -1", mistakes)
            .unwrap_or_default(),
        min_size_bytes,
        max_size_bytes,
        allow_same: fields.switch("allow_same", usual.allow_same, mistakes),
    };
    fields.end(mistakes);
    if mistakes.len() > before {
        return None;
    }
    let expectation = ExpectationDefinition {
        name,
        enabled,
        place: place?,
        file: file?,
        by: by?,
        rules,
    };
    match expectation.check() {
        Ok(()) => Some(expectation),
        Err(fault) => {
            mistakes.push(Mistake::new(line, format!("`{path}`: {fault}")));
            None
        }
    }
}

/// `local`: account and path; or `target`: partner, and location or path.
fn place(
    fields: &mut Fields<'_>,
    line: usize,
    path: &str,
    mistakes: &mut Vec<Mistake>,
) -> Option<ExpectedPlace> {
    let (here, there) = (
        fields.below("local", mistakes),
        fields.below("target", mistakes),
    );
    match (here, there) {
        (Some(mut here), None) => {
            let account: Option<AccountName> =
                here.needed("account", "the name of an account", line, mistakes);
            let folder: Option<String> = here.needed(
                "path",
                "a folder of its home, which begins with /",
                line,
                mistakes,
            );
            here.end(mistakes);
            let (account, folder) = account.zip(folder)?;
            let home = format!("{account}:{folder}").parse::<HomeFolder>().ok();
            if home.is_none() {
                let text = format!("`{path}.local.path` begins with /");
                mistakes.push(Mistake::new(line, text));
            }
            home.map(|home| ExpectedPlace::Here { home })
        }
        (None, Some(mut there)) => {
            let named = "the name of an integration";
            let partner = there.needed("partner", named, line, mistakes);
            let named = "the name of a location of the integration";
            let target = match there.value("location", named, mistakes) {
                Some(location) => Some(FlowTarget::Location(location)),
                None => there
                    .needed("path", "a folder on the partner's server", line, mistakes)
                    .map(FlowTarget::Path),
            };
            there.end(mistakes);
            let (partner, target) = partner.zip(target)?;
            Some(ExpectedPlace::There { partner, target })
        }
        _ => {
            let text = format!(
                "`{path}` needs one place: `local` (account and path), or `target` (partner, and \
                 location or path)"
            );
            mistakes.push(Mistake::new(line, text));
            None
        }
    }
}

/// Writes an expectation, as [`read`] takes it; what is as usual is left out.
pub(super) fn write(lines: &mut Lines, expectation: &ExpectationDefinition) {
    lines.line(1, &format!("{}:", key(expectation.name.as_str())));
    lines.line(2, &format!("enabled: {}", expectation.enabled));
    match &expectation.place {
        ExpectedPlace::Here { home } => {
            lines.line(2, "local:");
            lines.field(3, "account", home.account.as_str());
            lines.field(3, "path", &home.folder.to_string());
        }
        ExpectedPlace::There { partner, target } => {
            lines.line(2, "target:");
            lines.field(3, "partner", partner.as_str());
            match target {
                FlowTarget::Path(path) => lines.field(3, "path", path.as_str()),
                FlowTarget::Location(location) => lines.field(3, "location", location.as_str()),
            }
        }
    }
    lines.field(2, "file", expectation.file.as_str());
    lines.line(2, &format!("by: {}", scalar(&expectation.by.to_string())));
    let rules = &expectation.rules;
    if !rules.days.is_every() {
        lines.field(2, "days", rules.days.as_str());
    }
    if rules.date_offset != 0 {
        lines.line(2, &format!("date_offset: {}", rules.date_offset));
    }
    for (name, bytes) in [
        ("min_size", rules.min_size_bytes),
        ("max_size", rules.max_size_bytes),
    ] {
        if let Some(bytes) = bytes {
            lines.field(2, name, &ByteSize(bytes).exact());
        }
    }
    if rules.allow_same {
        lines.line(2, "allow_same: true");
    }
}
