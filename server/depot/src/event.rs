//! Events: what happened, for those who want to be told of it at once.
//!
//! The journal is the outbox. `telling` says, and does nothing else, which of its entries
//! are told; [`Events::follow`] reads them in the order of the chain and writes events,
//! their deliveries and how far it came in one transaction. So nothing is added to the
//! paths that files take, and no entry is told twice or left out, whoever dies when.
//! What no entry tells of (a certificate that ends, a file that did not come) is an event
//! written in one transaction with an entry of its own.
//!
//! Who sends deliveries is not the depot's business: it says whose turn it is, to one
//! node at a time ([`Events::claim`]), and keeps what came of it.

mod door;
mod hook;
mod record;
mod telling;

pub use door::{DELIVERY_LEASE, Events, GIVE_UP_AFTER, News};
pub use hook::{
    DueHook, Hook, HookAddresses, HookChange, HookPlain, HookTarget, HookUrl, HookUrlError,
    MAX_HOOK_AUTHORITIES_BYTES, MAX_HOOK_URL_BYTES, MAX_HOOKS, WantedHook,
};
pub(crate) use hook::{HookRow, HookUpdate, NewHook, SealedHook};
pub use record::{
    ClaimedDelivery, DeliveryFailure, DeliveryId, DeliveryOutcome, DeliveryState, Event,
    EventDelivery, EventFilter, EventId, EventKind, HookId, MAX_EVENT_PAGE, Reach,
};
pub(crate) use record::{
    DeliveryTaker, DueDelivery, GIVEN_UP_AT_ONCE, NewEvent, SENT_AGAIN_AT_ONCE, Unreached,
};
pub(crate) use telling::{About, Told};
