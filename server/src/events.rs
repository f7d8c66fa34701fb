//! Events are made and told here: one job makes events of the journal, another sends to
//! each hook what is due for it.
//!
//! Each hook has a task of its own while something is due for it, and requests of its
//! own: one that does not answer keeps nobody else waiting. A hook that gives no answer is
//! left alone for a while, longer each time, so that what waits for it costs nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use layover_client::Surroundings;
use layover_client::webhook::{Webhook, WebhookError};
use layover_depot::timer::timeout;
use layover_depot::{
    ClaimedDelivery, DeliveryFailure, DeliveryOutcome, Depot, DueHook, Events, Hook, HookId, Reach,
    StoreError,
};
use layover_retention::{Clock, Timestamp};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::jobs::{Job, JobFailure, Next};

/// How often the journal and the hooks are looked at: who is told is to be told within
/// seconds.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often old events are forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);

/// Requests to one hook at the same time. With `MAX_HOOKS` this is the bound of them all.
const REQUESTS_AT_ONCE: usize = 4;

/// Deliveries after which a hook's secret is had again: what a reference leads to may have
/// changed. A hook that was changed ends the turn at once.
const DELIVERIES_OF_A_TURN: u32 = 500;

/// The wait behind the first try that failed; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// No wait is longer than this: ten minutes after a receiver is back, it has everything.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// How long requests that are out may take when the server stops.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// The wait behind so many tries that failed, shortened by up to a quarter (`jitter`, 0 to
/// 255), so that what failed together does not come back together.
fn wait(tries: u32, jitter: u8) -> Duration {
    let doublings = tries.saturating_sub(1).min(16);
    let full = (FIRST_WAIT * (1_u32 << doublings)).min(LONGEST_WAIT);
    full - full / 4 * u32::from(jitter) / 255
}

fn jitter() -> u8 {
    getrandom::u32().map_or(0, |random| random.to_le_bytes()[0])
}

/// Makes events of the journal, and forgets old ones.
pub(crate) struct EventMaker {
    pub(crate) events: Events,
    pub(crate) clock: Arc<dyn Clock>,
    /// Events are remembered as long as the journal.
    pub(crate) keep: Duration,
    pub(crate) pruned_at: Option<Timestamp>,
}

impl EventMaker {
    async fn prune(&mut self) -> Result<(), JobFailure> {
        let now = self.clock.now();
        let is_due = self
            .pruned_at
            .is_none_or(|at| at.saturating_add(PRUNE_EVERY) <= now);
        if is_due && self.events.prune(now.saturating_sub(self.keep)).await? == 0 {
            self.pruned_at = Some(now);
        }
        Ok(())
    }
}

impl Job for EventMaker {
    fn name(&self) -> &'static str {
        "events"
    }

    fn period(&self) -> Duration {
        LOOK_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        let followed = self.events.follow().await?;
        self.prune().await?;
        Ok(if followed > 0 {
            Next::AtOnce
        } else {
            Next::WhenDue
        })
    }
}

/// How it stands with a hook.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// Of which version of the hook the rest is known.
    version: i64,
    /// A task is sending to it.
    is_busy: bool,
    /// How often it gave no answer, one time behind the other.
    unanswered: u32,
    /// It is left alone until then.
    until: Option<Timestamp>,
}

/// Sends to hooks what is due for them.
#[derive(Clone)]
pub(crate) struct HookSender {
    pub(crate) depot: Depot,
    pub(crate) surroundings: Surroundings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    standings: Arc<Mutex<HashMap<HookId, Standing>>>,
}

/// What one try showed of a hook.
enum Seen {
    /// It answers.
    Answers,
    /// It does not, or says that it cannot: it is left alone.
    Silent,
}

/// Too many requests, and what says that the receiver itself is not well.
fn is_unwell(status: u16) -> bool {
    status == 429 || status >= 500
}

impl HookSender {
    pub(crate) fn new(
        depot: Depot,
        surroundings: Surroundings,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            depot,
            surroundings,
            clock,
            tasks,
            stop,
            standings: Arc::default(),
        }
    }

    fn standings(&self) -> MutexGuard<'_, HashMap<HookId, Standing>> {
        self.standings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a task may send to the hook now; it is its only one then. One that was
    /// changed is tried at once.
    fn take(&self, hook: DueHook) -> bool {
        let now = self.clock.now();
        let mut standings = self.standings();
        let standing = standings.entry(hook.id).or_default();
        if standing.version != hook.version {
            *standing = Standing {
                version: hook.version,
                is_busy: standing.is_busy,
                ..Standing::default()
            };
        }
        let is_free = !standing.is_busy && standing.until.is_none_or(|until| until <= now);
        standing.is_busy |= is_free;
        is_free
    }

    fn saw(&self, hook: &Hook, seen: &Seen) {
        let now = self.clock.now();
        let mut standings = self.standings();
        let standing = standings.entry(hook.id).or_default();
        if standing.version != hook.version {
            return;
        }
        match seen {
            Seen::Answers => {
                standing.unanswered = 0;
                standing.until = None;
            }
            Seen::Silent => {
                standing.unanswered = standing.unanswered.saturating_add(1);
                let wait = wait(standing.unanswered, jitter());
                standing.until = Some(now.saturating_add(wait));
            }
        }
    }

    fn release(&self, hook: HookId) {
        if let Some(standing) = self.standings().get_mut(&hook) {
            standing.is_busy = false;
        }
    }

    /// A turn of one hook: until nothing is due for it, or it does not answer.
    async fn turn(&self, id: HookId) -> Result<(), StoreError> {
        let events = self.depot.events();
        let Some(hook) = events.hook(id).await? else {
            return Ok(());
        };
        let webhook = match self.prepare(&hook).await {
            Ok(webhook) => webhook,
            Err(cause) => {
                let claimed = events.claim(&hook, 1).await?;
                self.saw(&hook, &Seen::Silent);
                for delivery in &claimed {
                    let reach = Reach::Unanswered;
                    self.not_delivered(&hook, delivery, reach, &cause, None)
                        .await?;
                }
                return Ok(());
            }
        };
        let mut out = FuturesUnordered::new();
        let mut sent = 0;
        let mut goes_on = true;
        loop {
            let free = REQUESTS_AT_ONCE.saturating_sub(out.len());
            if goes_on && free > 0 && sent < DELIVERIES_OF_A_TURN && !self.stop.is_cancelled() {
                for delivery in events.claim(&hook, free).await? {
                    sent += 1;
                    let webhook = &webhook;
                    out.push(async move {
                        let outcome = webhook.send(&delivery.event).await;
                        (delivery, outcome)
                    });
                }
            }
            let Some((delivery, outcome)) = out.next().await else {
                return Ok(());
            };
            match self.note(&hook, &delivery, outcome).await? {
                Seen::Answers => self.saw(&hook, &Seen::Answers),
                Seen::Silent => {
                    if goes_on {
                        self.saw(&hook, &Seen::Silent);
                    }
                    goes_on = false;
                }
            }
        }
    }

    /// The cause as a sentence: what stands before a hook is told like what its receiver
    /// answers.
    async fn prepare(&self, hook: &Hook) -> Result<Webhook, String> {
        let credential = self.depot.registry().hook_secret(hook).await;
        let credential = credential.map_err(|error| error.to_string())?;
        let prepared = Webhook::prepare(&hook.target, credential, &self.surroundings).await;
        prepared.map_err(|error| error.to_string())
    }

    async fn note(
        &self,
        hook: &Hook,
        delivery: &ClaimedDelivery,
        outcome: Result<u16, WebhookError>,
    ) -> Result<Seen, StoreError> {
        let error = match outcome {
            Ok(status) => {
                let is_ours = self.depot.events().delivered(delivery, status).await?;
                tracing::debug!(hook = %hook.name, event = %delivery.event.id, status, is_ours, "event delivered");
                return Ok(Seen::Answers);
            }
            Err(error) => error,
        };
        let reach = error.reach();
        let asked = error.retry_after();
        self.not_delivered(hook, delivery, reach, &error.to_string(), asked)
            .await?;
        Ok(match reach {
            Reach::Answered { status } if !is_unwell(status) => Seen::Answers,
            Reach::Answered { .. } | Reach::Unanswered => Seen::Silent,
        })
    }

    async fn not_delivered(
        &self,
        hook: &Hook,
        delivery: &ClaimedDelivery,
        reach: Reach,
        cause: &str,
        asked: Option<Duration>,
    ) -> Result<(), StoreError> {
        let tries = delivery.attempts.saturating_add(1);
        let events = self.depot.events();
        let now = events.hook(hook.id).await?;
        // What failed as the hook was before says nothing of how it is now.
        let pause = match now.is_some_and(|now| now.version != hook.version) {
            true => Duration::ZERO,
            false => wait(tries, jitter()).max(asked.unwrap_or_default()),
        };
        let failure = DeliveryFailure {
            reach,
            cause: cause.to_owned(),
            again_at: self.clock.now().saturating_add(pause),
        };
        let name = &hook.name;
        match events.not_delivered(delivery, failure).await? {
            DeliveryOutcome::GivenUp { deliveries } => tracing::error!(
                hook = %name,
                event = %delivery.event.id,
                deliveries,
                "hook `{name}` was given up on for {deliveries} events: {cause}; see: layover event list --undelivered"
            ),
            // Once, not with each of its many tries.
            DeliveryOutcome::Again if tries == 1 => tracing::warn!(
                hook = %name,
                event = %delivery.event.id,
                "hook `{name}` was not told, and is tried again: {cause}"
            ),
            DeliveryOutcome::Again | DeliveryOutcome::Lost => {}
        }
        Ok(())
    }

    fn begin(&self, hook: HookId) {
        let sender = self.clone();
        self.tasks.spawn(async move {
            let turn = sender.turn(hook);
            tokio::pin!(turn);
            let turned = tokio::select! {
                turned = &mut turn => Some(turned),
                // What is out then is sent again when the server is back.
                () = sender.stop.cancelled() => timeout(STOP_LIMIT, turn).await.ok(),
            };
            if let Some(Err(error)) = turned {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "what became of a delivery could not be recorded; it is sent again"
                );
            }
            sender.release(hook);
        });
    }
}

impl Job for HookSender {
    fn name(&self) -> &'static str {
        "hooks"
    }

    fn period(&self) -> Duration {
        LOOK_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        for hook in self.depot.events().due().await? {
            if self.take(hook) {
                self.begin(hook.id);
            }
        }
        Ok(Next::WhenDue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_minutes_and_are_never_shortened_by_more_than_a_quarter() {
        for (tries, seconds) in [(1, 5), (2, 10), (3, 20), (7, 320), (8, 600), (1_000, 600)] {
            let full = Duration::from_secs(seconds);
            assert_eq!(wait(tries, 0), full);
            assert_eq!(wait(tries, 255), full * 3 / 4);
            let between = wait(tries, 128);
            assert!(between < full && between > full * 3 / 4);
        }
    }
}
