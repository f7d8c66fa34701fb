-- One text for both engines. `BIGIDENTITY` and `BYTES` are replaced by the
-- engine's own words before the migration runs (store/dialect.rs).
-- Times are microseconds since 1970 UTC (`*_us`), booleans are BIGINT 0/1.

-- One row: counts changes that running servers must notice.
CREATE TABLE generation (
    id      BIGINT PRIMARY KEY,
    counter BIGINT NOT NULL
);
INSERT INTO generation (id, counter) VALUES (1, 0);

CREATE TABLE nodes (
    id               TEXT PRIMARY KEY,
    started_at_us    BIGINT NOT NULL,
    heartbeat_at_us  BIGINT NOT NULL
);

CREATE TABLE entities (
    id            BIGIDENTITY,
    name          TEXT NOT NULL UNIQUE,
    keep_s        BIGINT,
    created_at_us BIGINT NOT NULL
);

-- A home outlives its accounts: its files still expire.
CREATE TABLE homes (
    id            BIGIDENTITY,
    name          TEXT NOT NULL UNIQUE,
    entity_id     BIGINT NOT NULL REFERENCES entities (id),
    used_bytes    BIGINT NOT NULL DEFAULT 0,
    created_at_us BIGINT NOT NULL
);

CREATE TABLE accounts (
    id                  BIGIDENTITY,
    name                TEXT NOT NULL,
    entity_id           BIGINT NOT NULL REFERENCES entities (id),
    home_id             BIGINT NOT NULL REFERENCES homes (id),
    enabled             BIGINT NOT NULL,
    protocols           TEXT NOT NULL,
    keep_s              BIGINT,
    quota_bytes         BIGINT,
    read_only           BIGINT NOT NULL,
    tolerant_completion BIGINT NOT NULL,
    publish_on_rename   BIGINT NOT NULL,
    password_hash       TEXT,
    created_at_us       BIGINT NOT NULL,
    removed_at_us       BIGINT
);
CREATE UNIQUE INDEX accounts_live_name ON accounts (name) WHERE removed_at_us IS NULL;
CREATE INDEX accounts_home ON accounts (home_id);

CREATE TABLE account_keys (
    id            BIGIDENTITY,
    account_id    BIGINT NOT NULL REFERENCES accounts (id),
    fingerprint   TEXT NOT NULL,
    algorithm     TEXT NOT NULL,
    comment       TEXT NOT NULL,
    blob          BYTES NOT NULL,
    from_patterns TEXT NOT NULL,
    expires_at_us BIGINT,
    added_at_us   BIGINT NOT NULL,
    UNIQUE (account_id, fingerprint)
);

CREATE TABLE account_networks (
    id            BIGIDENTITY,
    account_id    BIGINT NOT NULL REFERENCES accounts (id),
    network       TEXT NOT NULL,
    reason        TEXT,
    until_us      BIGINT,
    created_at_us BIGINT NOT NULL,
    UNIQUE (account_id, network)
);

CREATE TABLE account_permissions (
    account_id BIGINT NOT NULL REFERENCES accounts (id),
    path       BYTES NOT NULL,
    rights     TEXT NOT NULL,
    PRIMARY KEY (account_id, path)
);

-- The ledger. `dir` is the absolute virtual path of the parent ('/', '/in'),
-- `name` the last component; both are bytes.
-- state: receiving | partial | waiting | publishing | stored | deleting | ended
-- A home's used_bytes = the sizes of its rows in publishing, stored, deleting.
CREATE TABLE files (
    id              BIGIDENTITY,
    home_id         BIGINT NOT NULL REFERENCES homes (id),
    dir             BYTES NOT NULL,
    name            BYTES NOT NULL,
    state           TEXT NOT NULL,
    size_bytes      BIGINT NOT NULL,
    sha256          BYTES,
    -- which file this is, whatever its name (vfs.rs, Identity)
    inode           BIGINT,
    born_us         BIGINT,
    arrived_at_us   BIGINT,
    expires_at_us   BIGINT,
    uploaded_by     BIGINT REFERENCES accounts (id),
    collected_at_us BIGINT,
    collected_by    BIGINT REFERENCES accounts (id),
    -- while unfinished or deleting: the hidden file's name, its node, when last touched
    temp_name       TEXT,
    node_id         TEXT NOT NULL,
    touched_at_us   BIGINT NOT NULL,
    -- the arrival that a copy-on-write or copied file keeps
    inherited_arrival_us BIGINT,
    -- why and when a row ended: expired | removed | replaced | missing
    ended_at_us     BIGINT,
    ended_by        TEXT
);
CREATE UNIQUE INDEX files_visible ON files (home_id, dir, name) WHERE state IN ('stored', 'deleting');
CREATE INDEX files_expiry ON files (expires_at_us, id) WHERE state = 'stored';
CREATE INDEX files_unfinished ON files (node_id) WHERE state IN ('receiving', 'publishing', 'deleting');
CREATE INDEX files_name ON files (home_id, dir, name) WHERE state <> 'ended';
CREATE INDEX files_stale ON files (touched_at_us) WHERE state IN ('partial', 'waiting');
CREATE INDEX files_parked ON files (home_id) WHERE state IN ('partial', 'waiting');
CREATE INDEX files_hidden ON files (temp_name) WHERE temp_name IS NOT NULL;

-- Who is changing which name just now: the lock between nodes and processes,
-- and the note that recovery reads after a crash.
-- kind: publish | move | tree | delete
CREATE TABLE path_claims (
    home_id       BIGINT NOT NULL REFERENCES homes (id),
    path          BYTES NOT NULL,
    kind          TEXT NOT NULL,
    file_id       BIGINT,
    -- for a move: both ends carry the same pair
    from_path     BYTES,
    to_path       BYTES,
    inode         BIGINT,
    born_us       BIGINT,
    node_id       TEXT NOT NULL,
    claimed_at_us BIGINT NOT NULL,
    PRIMARY KEY (home_id, path)
);
CREATE INDEX path_claims_node ON path_claims (node_id);

CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    node_id    TEXT NOT NULL,
    account_id BIGINT NOT NULL REFERENCES accounts (id),
    protocol   TEXT NOT NULL,
    peer       TEXT NOT NULL,
    since_us   BIGINT NOT NULL,
    kill_by    TEXT
);
CREATE INDEX sessions_node ON sessions (node_id);

-- Transfers, logins, administrative acts, deletions: append only.
CREATE TABLE journal (
    id          BIGIDENTITY,
    at_us       BIGINT NOT NULL,
    kind        TEXT NOT NULL,
    action      TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    account     TEXT,
    entity      TEXT,
    peer        TEXT,
    protocol    TEXT,
    session_id  TEXT,
    path        BYTES,
    size_bytes  BIGINT,
    duration_ms BIGINT,
    node_id     TEXT NOT NULL,
    detail      TEXT NOT NULL
);
CREATE INDEX journal_at ON journal (at_us, id);
CREATE INDEX journal_account ON journal (account, id);

-- What jobs did last (sweep, adopt): name, JSON.
CREATE TABLE jobs (
    name          TEXT PRIMARY KEY,
    last_run_us   BIGINT NOT NULL,
    next_due_us   BIGINT,
    report        TEXT NOT NULL
);
