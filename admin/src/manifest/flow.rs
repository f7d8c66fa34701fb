//! Flows as YAML: the form of Xferity's flow files, and what ours have beside it.

use std::str::FromStr;

use layover_depot::{
    AccountName, FilePattern, FlowDefinition, FlowFolder, FlowName, FlowRules, FlowTarget,
    IdempotencyMode, MAX_FLOW_FILES,
};

use super::Mistake;
use super::node::Node;
use super::read::{Fields, list};
use super::write::{Lines, key, scalar};

/// Reads a flow.
pub(super) fn read(
    name: FlowName,
    node: &Node,
    path: &str,
    mistakes: &mut Vec<Mistake>,
) -> Option<FlowDefinition> {
    let before = mistakes.len();
    let line = node.line;
    let mut fields = Fields::of(node, path, mistakes)?;
    let direction = fields.needed("direction", "upload or download", line, mistakes);
    let enabled = fields.switch("enabled", true, mistakes);
    let (mut partner, mut target) = (None, None);
    if let Some(mut there) = fields.below("target", mistakes) {
        partner = there.needed("partner", "the name of an integration", line, mistakes);
        let named = "the name of a location of the integration";
        target = match there.value("location", named, mistakes) {
            Some(location) => Some(FlowTarget::Location(location)),
            None => there
                .needed("path", "a folder on the partner's server", line, mistakes)
                .map(FlowTarget::Path),
        };
        there.end(mistakes);
    } else {
        mistakes.push(Mistake::new(
            line,
            format!("`{path}.target` is needed: partner and path"),
        ));
    }
    let local = here(&mut fields, line, path, mistakes);
    let files = patterns(&mut fields, "files", path, mistakes);
    let modes = "hash, name, name+size+time or none";
    let mode = fields.value("idempotency_mode", modes, mistakes);
    let delete_after_upload = fields.switch("delete_after_upload", false, mistakes);
    let delete_after_download = fields.switch("delete_after_download", false, mistakes);
    let expected = "a schedule as in crontab: 5 fields, or 6 with seconds in front";
    let schedule_cron = fields.value("schedule_cron", expected, mistakes);
    let rules = rules(&mut fields, path, mistakes);
    fields.end(mistakes);
    if mistakes.len() > before {
        return None;
    }
    let flow = FlowDefinition {
        name,
        direction: direction?,
        enabled,
        partner: partner?,
        target: target?,
        local: local?,
        files,
        idempotency_mode: mode.unwrap_or(IdempotencyMode::Hash),
        delete_after_upload,
        delete_after_download,
        schedule_cron,
        rules,
    };
    match flow.check() {
        Ok(()) => Some(flow),
        Err(fault) => {
            mistakes.push(Mistake::new(line, format!("`{path}`: {fault}")));
            None
        }
    }
}

/// The folder here: of an account's home, or as the file calls it.
fn here(
    fields: &mut Fields<'_>,
    line: usize,
    path: &str,
    mistakes: &mut Vec<Mistake>,
) -> Option<FlowFolder> {
    let Some(mut here) = fields.below("local", mistakes) else {
        let text = format!("`{path}.local` is needed: path");
        mistakes.push(Mistake::new(line, text));
        return None;
    };
    let account: Option<AccountName> = here.value("account", "the name of an account", mistakes);
    let folder: Option<FlowFolder> = here.needed("path", "a folder here", line, mistakes);
    here.end(mistakes);
    let (Some(account), Some(folder)) = (&account, &folder) else {
        return folder;
    };
    let both = FlowFolder::from_str(&format!("{account}:{folder}")).ok();
    let is_home = |both: &FlowFolder| both.as_str().parse::<layover_depot::HomeFolder>().is_ok();
    let both = both.filter(is_home);
    if both.is_none() {
        let text = format!("`{path}.local.path` of an account begins with /");
        mistakes.push(Mistake::new(line, text));
    }
    both
}

/// Names of files, as a list of `pattern:`.
fn patterns(
    fields: &mut Fields<'_>,
    name: &'static str,
    path: &str,
    mistakes: &mut Vec<Mistake>,
) -> Vec<FilePattern> {
    let mut found = Vec::new();
    let Some(node) = fields.take(name) else {
        return found;
    };
    let path = format!("{path}.{name}");
    let patterns = list(node, &path, mistakes);
    if patterns.len() > MAX_FLOW_FILES {
        let text = format!(
            "`{path}` has {} patterns, and {MAX_FLOW_FILES} is the most",
            patterns.len()
        );
        mistakes.push(Mistake::new(node.line, text));
    }
    for one in patterns {
        let Some(mut file) = Fields::of(one, &path, mistakes) else {
            continue;
        };
        let expected = "a file name, perhaps with * and ?";
        found.extend(file.needed("pattern", expected, one.line, mistakes));
        file.end(mistakes);
    }
    found
}

fn rules(fields: &mut Fields<'_>, path: &str, mistakes: &mut Vec<Mistake>) -> FlowRules {
    let usual = FlowRules::default();
    let zone = "a time zone, e.g. Europe/Brussels or +02:00";
    let folder = "a folder beside the files";
    let number = "a number";
    FlowRules {
        exclude: patterns(fields, "exclude", path, mistakes),
        on_arrival: fields.switch("on_arrival", usual.on_arrival, mistakes),
        time_zone: fields.value("time_zone", zone, mistakes),
        catch_up: fields
            .value("catch_up", "once or skip", mistakes)
            .unwrap_or(usual.catch_up),
        max_parallel: fields
            .value("max_parallel", number, mistakes)
            .unwrap_or(usual.max_parallel),
        retries: fields
            .value("retries", number, mistakes)
            .unwrap_or(usual.retries),
        retry_after_s: fields
            .value("retry_after_s", "a number of seconds", mistakes)
            .unwrap_or(usual.retry_after_s),
        move_to: fields.value("move_to", folder, mistakes),
        dead_letter: fields.value("dead_letter", folder, mistakes),
        other_entity: fields.switch("other_entity", usual.other_entity, mistakes),
    }
}

/// Writes a flow, as [`read`] takes it; what is as usual is left out.
pub(super) fn write(lines: &mut Lines, flow: &FlowDefinition) {
    lines.line(1, &format!("{}:", key(flow.name.as_str())));
    lines.field(2, "direction", flow.direction.as_str());
    lines.line(2, &format!("enabled: {}", flow.enabled));
    lines.line(2, "target:");
    lines.field(3, "partner", flow.partner.as_str());
    match &flow.target {
        FlowTarget::Path(path) => lines.field(3, "path", path.as_str()),
        FlowTarget::Location(location) => lines.field(3, "location", location.as_str()),
    }
    lines.line(2, "local:");
    lines.field(3, "path", flow.local.as_str());
    write_patterns(lines, "files", &flow.files);
    lines.field(2, "idempotency_mode", flow.idempotency_mode.as_str());
    for (name, value) in [
        ("delete_after_upload", flow.delete_after_upload),
        ("delete_after_download", flow.delete_after_download),
    ] {
        lines.line(2, &format!("{name}: {value}"));
    }
    if let Some(schedule) = &flow.schedule_cron {
        lines.field(2, "schedule_cron", schedule.as_str());
    }
    write_rules(lines, &flow.rules);
}

fn write_rules(lines: &mut Lines, rules: &FlowRules) {
    let usual = FlowRules::default();
    write_patterns(lines, "exclude", &rules.exclude);
    if rules.on_arrival {
        lines.line(2, "on_arrival: true");
    }
    if let Some(zone) = &rules.time_zone {
        lines.field(2, "time_zone", zone.as_str());
    }
    if rules.catch_up != usual.catch_up {
        lines.field(2, "catch_up", rules.catch_up.as_str());
    }
    let numbers = [
        (
            "max_parallel",
            u32::from(rules.max_parallel),
            u32::from(usual.max_parallel),
        ),
        (
            "retries",
            u32::from(rules.retries),
            u32::from(usual.retries),
        ),
        ("retry_after_s", rules.retry_after_s, usual.retry_after_s),
    ];
    for (name, value, usual) in numbers {
        if value != usual {
            lines.line(2, &format!("{name}: {value}"));
        }
    }
    for (name, folder) in [
        ("move_to", &rules.move_to),
        ("dead_letter", &rules.dead_letter),
    ] {
        if let Some(folder) = folder {
            lines.field(2, name, folder.as_str());
        }
    }
    if rules.other_entity {
        lines.line(2, "other_entity: true");
    }
}

fn write_patterns(lines: &mut Lines, name: &str, patterns: &[FilePattern]) {
    if patterns.is_empty() {
        return;
    }
    lines.line(2, &format!("{name}:"));
    for pattern in patterns {
        lines.line(3, &format!("- pattern: {}", scalar(pattern.as_str())));
    }
}
