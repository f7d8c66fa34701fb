-- Flows that run by themselves, what they moved, events, and days of transfers.

-- The zone of an entity's days and schedules; none: UTC.
ALTER TABLE entities ADD COLUMN time_zone TEXT;

-- partner: the integration that it names; none: written before this step, and not looked at
-- version: counts changes; a schedule is planned for the version that was looked at
-- plan_from_us: changed since then, and not planned yet; none: next_due_us is right
-- next_due_us: when the schedule is due next; none: no schedule, or not enabled
ALTER TABLE flow_definitions ADD COLUMN partner TEXT;
ALTER TABLE flow_definitions ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE flow_definitions ADD COLUMN plan_from_us BIGINT;
ALTER TABLE flow_definitions ADD COLUMN next_due_us BIGINT;
CREATE INDEX flow_definitions_plan ON flow_definitions (plan_from_us) WHERE plan_from_us IS NOT NULL;
CREATE INDEX flow_definitions_due ON flow_definitions (next_due_us) WHERE next_due_us IS NOT NULL;

-- Folders of homes: a file that takes a name in one makes the flow run. A home with
-- such a folder has rules of its own (homes.rules_version), so that publications to
-- all others do not look here.
CREATE TABLE flow_arrivals (
    home_id BIGINT NOT NULL REFERENCES homes (id),
    folder  BYTES NOT NULL,
    flow    TEXT NOT NULL,
    PRIMARY KEY (home_id, folder, flow)
) KEYONLY;

-- A run of a flow, from the moment that it is due.
-- cause: schedule | arrival | manual | retry
-- state: due | running | done | failed | skipped
-- not_before_us: nobody begins it sooner
-- token: grows with each node that takes it; what is written with an older one is refused
-- report: {"moved": 1, "failed": 0, ...}
CREATE TABLE flow_runs (
    id               BIGIDENTITY,
    flow             TEXT NOT NULL,
    cause            TEXT NOT NULL,
    scheduled_for_us BIGINT NOT NULL,
    not_before_us    BIGINT NOT NULL,
    state            TEXT NOT NULL,
    token            BIGINT NOT NULL DEFAULT 0,
    node_id          TEXT,
    lease_until_us   BIGINT,
    started_at_us    BIGINT,
    ended_at_us      BIGINT,
    asked_by         TEXT,
    report           TEXT
);
-- A schedule fires once for each moment, whoever plans it.
CREATE UNIQUE INDEX flow_runs_firing ON flow_runs (flow, scheduled_for_us) WHERE cause = 'schedule';
-- Arrivals, and files to be tried again, wait for one run together.
CREATE UNIQUE INDEX flow_runs_waiting ON flow_runs (flow, cause)
    WHERE state = 'due' AND cause IN ('arrival', 'retry');
-- Two runs of a flow never overlap.
CREATE UNIQUE INDEX flow_runs_running ON flow_runs (flow) WHERE state = 'running';
CREATE INDEX flow_runs_due ON flow_runs (not_before_us, id) WHERE state = 'due';
CREATE INDEX flow_runs_lease ON flow_runs (lease_until_us) WHERE state = 'running';
CREATE INDEX flow_runs_history ON flow_runs (flow, id);

-- A file that a flow has found.
-- state: planned | moving | landing | done | failed | dead | gone
--   landing: it takes its name here; hidden is its name until then (files.temp_name)
--   failed: to be tried again; dead: given up
-- run_id: the last run that had to do with it
-- size_bytes, modified_us: as its source tells them
-- target: the name that it has, or gets, where it goes
-- keys: 32 bytes each; they become flow_keys with the result
-- after_done: 0 while something is still to be done with the source
CREATE TABLE flow_files (
    id             BIGIDENTITY,
    flow           TEXT NOT NULL,
    run_id         BIGINT NOT NULL,
    name           BYTES NOT NULL,
    size_bytes     BIGINT,
    modified_us    BIGINT,
    state          TEXT NOT NULL,
    attempts       BIGINT NOT NULL DEFAULT 0,
    not_before_us  BIGINT NOT NULL DEFAULT 0,
    target         BYTES,
    sha256         TEXT,
    content_bytes  BIGINT,
    keys           BYTES,
    hidden         TEXT,
    after_done     BIGINT NOT NULL DEFAULT 0,
    cause          TEXT,
    found_at_us    BIGINT NOT NULL,
    changed_at_us  BIGINT NOT NULL
);
CREATE UNIQUE INDEX flow_files_open ON flow_files (flow, name)
    WHERE state IN ('planned', 'moving', 'landing', 'failed') OR (state = 'done' AND after_done = 0);
CREATE INDEX flow_files_run ON flow_files (run_id, id);
CREATE INDEX flow_files_landing ON flow_files (hidden) WHERE state = 'landing';
CREATE INDEX flow_files_history ON flow_files (flow, changed_at_us);

-- How a flow knows what it has moved (flow/key.rs).
CREATE TABLE flow_keys (
    flow  TEXT NOT NULL,
    file_key BYTES NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (flow, file_key)
) KEYONLY;

-- Files that are expected: "crm_$yyyyMMdd.csv by 06:00, 1-100 MB".
-- plan_from_us, next_due_us, version: as those of flow_definitions
CREATE TABLE expectations (
    name         TEXT PRIMARY KEY,
    entity_id    BIGINT NOT NULL REFERENCES entities (id),
    definition   TEXT NOT NULL,
    version      BIGINT NOT NULL DEFAULT 1,
    set_at_us    BIGINT NOT NULL,
    plan_from_us BIGINT,
    next_due_us  BIGINT
);

-- What came of an expectation on a day of its entity.
-- day: YYYY-MM-DD; fault: missing | late | too_small | too_large | same_content; none: as expected
CREATE TABLE expectation_days (
    expectation TEXT NOT NULL,
    day         TEXT NOT NULL,
    due_at_us   BIGINT NOT NULL,
    looked_at_us BIGINT NOT NULL,
    fault       TEXT,
    file_name   BYTES,
    size_bytes  BIGINT,
    sha256      TEXT,
    PRIMARY KEY (expectation, day)
) KEYONLY;

-- What happened, for those who want to be told: written, with its deliveries, in the
-- transaction of what it tells of.
-- subject: what events are told in their order of: file:HOME:/path, flow:NAME, account:NAME
-- once: told once only, whoever finds it; none: each time
CREATE TABLE events (
    id        BIGIDENTITY,
    at_us     BIGINT NOT NULL,
    kind      TEXT NOT NULL,
    entity_id BIGINT,
    subject   TEXT NOT NULL,
    once      TEXT,
    detail    TEXT NOT NULL
);
CREATE UNIQUE INDEX events_once ON events (once) WHERE once IS NOT NULL;
CREATE INDEX events_at ON events (at_us, id);

-- Who is told. entity_id: none: of all entities. kinds: a JSON list; empty: all.
-- secret: what requests are signed with, a reference, or sealed as those of
-- integrations are, bound to the handle.
CREATE TABLE hooks (
    id            BIGIDENTITY,
    name          TEXT NOT NULL,
    entity_id     BIGINT REFERENCES entities (id),
    url           TEXT NOT NULL,
    kinds         TEXT NOT NULL,
    enabled       BIGINT NOT NULL,
    version       BIGINT NOT NULL DEFAULT 1,
    handle        TEXT NOT NULL,
    reference     TEXT,
    sealed        BYTES,
    key_id        TEXT,
    created_at_us BIGINT NOT NULL,
    removed_at_us BIGINT
);
CREATE UNIQUE INDEX hooks_live_name ON hooks (name) WHERE removed_at_us IS NULL;

-- state: due | done | dead. Of one hook and subject, only the first that is due goes.
-- token, lease_until_us: as those of flow_runs; the lease is held while a request is out
CREATE TABLE deliveries (
    id             BIGIDENTITY,
    hook_id        BIGINT NOT NULL REFERENCES hooks (id),
    event_id       BIGINT NOT NULL REFERENCES events (id),
    subject        TEXT NOT NULL,
    state          TEXT NOT NULL,
    attempts       BIGINT NOT NULL DEFAULT 0,
    not_before_us  BIGINT NOT NULL,
    give_up_at_us  BIGINT NOT NULL,
    token          BIGINT NOT NULL DEFAULT 0,
    node_id        TEXT,
    lease_until_us BIGINT,
    last_status    BIGINT,
    last_error     TEXT,
    ended_at_us    BIGINT
);
CREATE UNIQUE INDEX deliveries_once ON deliveries (hook_id, event_id);
CREATE INDEX deliveries_due ON deliveries (not_before_us, id) WHERE state = 'due';
CREATE INDEX deliveries_order ON deliveries (hook_id, subject, event_id) WHERE state = 'due';
CREATE INDEX deliveries_dead ON deliveries (ended_at_us) WHERE state = 'dead';

-- Attempted transfers, a day of the entity's zone at a time.
-- of_what: account | integration; direction: download | upload; outcome: ok | failed
-- day: days since 1970-01-01
CREATE TABLE daily_transfers (
    of_what     TEXT NOT NULL,
    name        TEXT NOT NULL,
    day         BIGINT NOT NULL,
    direction   TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    requests    BIGINT NOT NULL,
    size_bytes  BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    PRIMARY KEY (of_what, name, day, direction, outcome)
) KEYONLY;

-- How far the journal is in them: by its place in the chain (chain_links.seq), which has
-- no gaps; entries without a place yet are read from the journal. The row is the lock
-- between nodes.
CREATE TABLE rolled_up (
    name  TEXT PRIMARY KEY,
    seq   BIGINT NOT NULL,
    at_us BIGINT NOT NULL
);
INSERT INTO rolled_up (name, seq, at_us) VALUES ('daily_transfers', 0, 0);
