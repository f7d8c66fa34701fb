//! Is a chain the one that was signed, and that this node knows? Nothing is signed on top
//! of what somebody computed anew.

use layover_retention::{ChainHead, ChainName, Checkpoint, PublicKey};

use super::chains::{Head, chain_beginning, link_hash, number, signed_at, signing_keys};
use super::{Conn, StoreError};
use crate::chain_memory::{Expected, Remembered};

/// Looks at a chain whose head is locked. Returns the end of what was pruned.
///
/// Its head must carry a signature of a server of ours, and what this node remembers must
/// still be there, or have been old enough to be pruned: whoever adds a key of his own to
/// the database signs what he likes, and makes nothing older by that.
pub(super) async fn check(
    conn: &mut Conn,
    chain: ChainName,
    found: &Head,
    expected: &Expected,
) -> Result<ChainHead, StoreError> {
    let keys = signing_keys(conn).await?;
    signed(conn, chain, found.head, &keys).await?;
    let begins = beginning(conn, chain, &keys).await?;
    counted(conn, chain, found, begins).await?;
    if let Some(known) = &expected.remembered {
        remembered(conn, chain, found, begins, known, expected).await?;
    }
    Ok(begins)
}

fn altered<T>(chain: ChainName, what: String) -> Result<T, StoreError> {
    Err(StoreError::Altered { chain, what })
}

fn is_ours(chain: ChainName, checkpoint: &Checkpoint, keys: &[PublicKey]) -> bool {
    keys.iter().any(|key| checkpoint.is_signed_by(chain, key))
}

fn is_pruning(chain: ChainName, checkpoint: &Checkpoint, keys: &[PublicKey]) -> bool {
    keys.iter()
        .any(|key| checkpoint.is_pruning_signed_by(chain, key))
}

/// The head has a signature.
async fn signed(
    conn: &mut Conn,
    chain: ChainName,
    head: ChainHead,
    keys: &[PublicKey],
) -> Result<(), StoreError> {
    let at = head.seq;
    if at == 0 {
        return if head == ChainHead::EMPTY {
            Ok(())
        } else {
            altered(chain, "it has no entries, and a hash".to_owned())
        };
    }
    match signed_at(conn, chain, at).await? {
        None => altered(
            chain,
            format!("the checkpoint of its last entry, {at}, is gone"),
        ),
        Some(signed) if signed.head != head => altered(
            chain,
            format!("its last entry, {at}, was signed with another hash"),
        ),
        Some(signed) if !is_ours(chain, &signed, keys) && !is_pruning(chain, &signed, keys) => {
            altered(
                chain,
                format!("the checkpoint of its last entry, {at}, has no signature of a known key"),
            )
        }
        Some(_) => Ok(()),
    }
}

/// The end of what was pruned, which somebody signed as such.
async fn beginning(
    conn: &mut Conn,
    chain: ChainName,
    keys: &[PublicKey],
) -> Result<ChainHead, StoreError> {
    match chain_beginning(conn, chain).await? {
        None => Ok(ChainHead::EMPTY),
        Some(pruned) if is_pruning(chain, &pruned, keys) => Ok(pruned.head),
        Some(pruned) => altered(
            chain,
            format!(
                "no known key signed that the entries up to {} were pruned",
                pruned.head.seq
            ),
        ),
    }
}

/// No entry has its place behind the head, and none is skipped when the next ones get
/// theirs.
async fn counted(
    conn: &mut Conn,
    chain: ChainName,
    found: &Head,
    begins: ChainHead,
) -> Result<(), StoreError> {
    let (behind,): (Option<i64>,) =
        sqlx::query_as("SELECT MIN(seq) FROM chain_links WHERE chain = $1 AND seq > $2")
            .bind(chain.as_str())
            .bind(number(found.head.seq))
            .fetch_one(&mut *conn)
            .await?;
    if let Some(behind) = behind {
        return altered(
            chain,
            format!(
                "entry {behind} has a place behind its end, {}",
                found.head.seq
            ),
        );
    }
    if found.settled_id > found.last_id {
        return altered(
            chain,
            "more entries are settled than have a place".to_owned(),
        );
    }
    if found.head.seq == begins.seq {
        // Nothing is left whose numbers could be compared.
        return Ok(());
    }
    let newest = match chain {
        ChainName::Journal => "SELECT MAX(id) FROM journal",
        ChainName::Certificates => "SELECT MAX(id) FROM certificates",
    };
    let (newest,): (Option<i64>,) = sqlx::query_as(newest).fetch_one(conn).await?;
    let newest = newest.unwrap_or(0);
    if found.last_id > newest {
        return altered(
            chain,
            format!(
                "entry number {} has its place, and the newest is number {newest}",
                found.last_id
            ),
        );
    }
    Ok(())
}

/// What this node knows is there.
async fn remembered(
    conn: &mut Conn,
    chain: ChainName,
    found: &Head,
    begins: ChainHead,
    known: &Remembered,
    expected: &Expected,
) -> Result<(), StoreError> {
    let (at, end) = (known.head.seq, found.head.seq);
    if end < at {
        return altered(
            chain,
            format!("it ends at entry {end}, and this node has seen it end at entry {at}"),
        );
    }
    if end == at && known.last_id.is_some_and(|last| last != found.last_id) {
        return altered(
            chain,
            format!(
                "its last entry, {at}, has number {}, and this node has seen another",
                found.last_id
            ),
        );
    }
    let (now, before) = (begins.seq, known.pruned.seq);
    if now < before || (now == before && begins.hash != known.pruned.hash) {
        return altered(
            chain,
            format!(
                "it begins behind entry {now}, and this node has seen it begin behind entry \
                 {before}"
            ),
        );
    }
    let young = known.too_young(now, expected.prunable_before);
    if let Some((seq, written)) = young.filter(|_| now > before) {
        return altered(
            chain,
            format!(
                "its entries up to {now} were pruned, and one of them, {seq}, was written at \
                 {written}: nobody may have done that yet"
            ),
        );
    }
    let hash = match link_hash(conn, chain, at).await? {
        Some(hash) => Some(hash),
        None if now > at => return Ok(()),
        None if now == at => Some(begins.hash),
        None => None,
    };
    match hash {
        Some(hash) if hash == known.head.hash => Ok(()),
        Some(_) => altered(
            chain,
            format!("entry {at} has another hash than when this node saw it"),
        ),
        None => altered(
            chain,
            format!("entry {at}, which this node has seen, is gone"),
        ),
    }
}
