//! YAML as a tree that knows its lines. Nothing is interpreted: what a text
//! means, its field decides. Anchors and tags are refused, as a file of settings
//! needs neither, and both can make a small file large.

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::Mistake;

/// Deepest nesting; our own form has 4 levels.
const MAX_DEPTH: usize = 16;

/// A part of a file.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    /// Nothing, or `null`.
    Nothing,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) value: Node,
}

impl Content {
    pub(super) fn told(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "fields",
        }
    }
}

/// What is being read: a list, or fields and the key whose value comes next.
enum Open {
    List(usize, Vec<Node>),
    Map(usize, Vec<Entry>, Option<(String, usize)>),
}

/// The documents of a text.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, Mistake> {
    let mut documents = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| Mistake::new(error.marker().line(), error.info()))?;
        let line = span.start.line();
        let (Event::Scalar(_, _, anchor, ref tag)
        | Event::SequenceStart(anchor, ref tag)
        | Event::MappingStart(anchor, ref tag)) = event
        else {
            let done = match event {
                Event::SequenceEnd | Event::MappingEnd => open.pop(),
                Event::Alias(_) => {
                    return Err(Mistake::new(line, "aliases (*name) are not taken here"));
                }
                _ => None,
            };
            let node = match done {
                Some(Open::List(line, list)) => Node {
                    line,
                    content: Content::List(list),
                },
                Some(Open::Map(line, entries, _)) => Node {
                    line,
                    content: Content::Map(entries),
                },
                None => continue,
            };
            put(&mut open, &mut documents, node)?;
            continue;
        };
        if anchor != 0 {
            return Err(Mistake::new(line, "anchors (&name) are not taken here"));
        }
        if tag.is_some() {
            return Err(Mistake::new(line, "tags (!name) are not taken here"));
        }
        match event {
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                let nothing = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let content = if nothing {
                    Content::Nothing
                } else {
                    Content::Text(text.into_owned())
                };
                put(&mut open, &mut documents, Node { line, content })?;
            }
            Event::SequenceStart(..) => open.push(Open::List(line, Vec::new())),
            _ => open.push(Open::Map(line, Vec::new(), None)),
        }
        if open.len() > MAX_DEPTH {
            return Err(Mistake::new(line, "this is nested too deeply"));
        }
    }
    Ok(documents)
}

fn put(open: &mut [Open], documents: &mut Vec<Node>, node: Node) -> Result<(), Mistake> {
    match open.last_mut() {
        None => documents.push(node),
        Some(Open::List(_, list)) => list.push(node),
        Some(Open::Map(_, entries, next)) => match next.take() {
            Some((key, line)) => entries.push(Entry {
                key,
                line,
                value: node,
            }),
            None => {
                let Content::Text(key) = node.content else {
                    return Err(Mistake::new(node.line, "the name of a field is a text"));
                };
                if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                    let text = format!(
                        "`{key}` stands here a second time, first in line {}",
                        first.line
                    );
                    return Err(Mistake::new(node.line, text));
                }
                *next = Some((key, node.line));
            }
        },
    }
    Ok(())
}
