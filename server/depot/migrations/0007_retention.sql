-- Retention as a promise that can be proven.

-- Which rule a stored file follows, written with its expiry:
--   expires_at_us = the later of held_until_us and the earlier of
--     arrived_at_us + rule_keep_s and collected_at_us + collected_keep_s.
-- rule: appliance | entity | account | folder
ALTER TABLE files ADD COLUMN rule TEXT;
ALTER TABLE files ADD COLUMN rule_keep_s BIGINT;
ALTER TABLE files ADD COLUMN collected_keep_s BIGINT;
-- The latest end of the holds that it is under.
ALTER TABLE files ADD COLUMN held_until_us BIGINT;
-- When its going was announced because nobody had collected it.
ALTER TABLE files ADD COLUMN warned_at_us BIGINT;
CREATE INDEX files_unhashed ON files (id) WHERE state = 'stored' AND sha256 IS NULL;
CREATE INDEX files_uncollected ON files (expires_at_us, id)
    WHERE state = 'stored' AND collected_at_us IS NULL AND warned_at_us IS NULL;

-- How long a file stays after it was first collected; none: as long as otherwise.
ALTER TABLE accounts ADD COLUMN collected_keep_s BIGINT;

-- Rules for a folder of a home and what is below it; the deepest holds.
CREATE TABLE folder_keeps (
    home_id          BIGINT NOT NULL REFERENCES homes (id),
    path             BYTES NOT NULL,
    keep_s           BIGINT,
    collected_keep_s BIGINT,
    set_at_us        BIGINT NOT NULL,
    reason           TEXT NOT NULL,
    PRIMARY KEY (home_id, path)
);
-- Counts changes of a home's folder rules and holds; 0: it never had any.
ALTER TABLE homes ADD COLUMN rules_version BIGINT NOT NULL DEFAULT 0;

-- Due files that could not be removed, and when they are tried again.
CREATE TABLE removal_failures (
    file_id      BIGINT PRIMARY KEY REFERENCES files (id),
    failures     BIGINT NOT NULL,
    first_at_us  BIGINT NOT NULL,
    retry_at_us  BIGINT NOT NULL,
    cause        TEXT NOT NULL
);

-- People who approve holds: an SSH public key with a name.
CREATE TABLE operators (
    id            BIGIDENTITY,
    name          TEXT NOT NULL,
    fingerprint   TEXT NOT NULL,
    public_key    TEXT NOT NULL,
    added_at_us   BIGINT NOT NULL,
    removed_at_us BIGINT
);
CREATE UNIQUE INDEX operators_live_name ON operators (name) WHERE removed_at_us IS NULL;
CREATE UNIQUE INDEX operators_live_key ON operators (fingerprint) WHERE removed_at_us IS NULL;

-- scope: account (the whole home) | folder | file
-- state: proposed | active | released | ended
CREATE TABLE holds (
    id             BIGIDENTITY,
    home_id        BIGINT NOT NULL REFERENCES homes (id),
    scope          TEXT NOT NULL,
    path           BYTES NOT NULL,
    file_id        BIGINT REFERENCES files (id),
    reason         TEXT NOT NULL,
    until_us       BIGINT NOT NULL,
    state          TEXT NOT NULL,
    -- what the approvers sign, byte for byte
    statement      TEXT NOT NULL,
    proposed_at_us BIGINT NOT NULL,
    active_at_us   BIGINT,
    released_at_us BIGINT,
    released_why   TEXT,
    released_by    TEXT,
    -- of the release statement
    released_signature TEXT
);
CREATE INDEX holds_home ON holds (home_id) WHERE state IN ('proposed', 'active');

CREATE TABLE hold_approvals (
    hold_id     BIGINT NOT NULL REFERENCES holds (id),
    fingerprint TEXT NOT NULL,
    operator    TEXT NOT NULL,
    signature   TEXT NOT NULL,
    at_us       BIGINT NOT NULL,
    PRIMARY KEY (hold_id, fingerprint)
);

-- Files under an active hold; they stay under it wherever they are renamed to.
CREATE TABLE held_files (
    file_id BIGINT NOT NULL REFERENCES files (id),
    hold_id BIGINT NOT NULL REFERENCES holds (id),
    PRIMARY KEY (file_id, hold_id)
);
CREATE INDEX held_files_hold ON held_files (hold_id);

-- One record for each file that was deleted, written with the end of its row.
CREATE TABLE certificates (
    id      BIGIDENTITY,
    file_id BIGINT NOT NULL UNIQUE,
    at_us   BIGINT NOT NULL,
    record  TEXT NOT NULL
);

-- The hash chains over `certificates` and `journal`. An entry gets its place
-- soon after it was written (retention/chain.rs).
CREATE TABLE chain_links (
    chain    TEXT NOT NULL,
    seq      BIGINT NOT NULL,
    entry_id BIGINT NOT NULL,
    hash     BYTES NOT NULL,
    PRIMARY KEY (chain, seq)
) KEYONLY;
CREATE UNIQUE INDEX chain_links_entry ON chain_links (chain, entry_id);

-- Where each chain stands. Every entry up to settled_id has its place: one that
-- turns up there later was not written by Layover.
CREATE TABLE chain_heads (
    chain      TEXT PRIMARY KEY,
    seq        BIGINT NOT NULL,
    hash       BYTES NOT NULL,
    settled_id BIGINT NOT NULL,
    -- the greatest number that has a place
    last_id    BIGINT NOT NULL,
    -- the newest signed record, and when it was signed
    signed_seq BIGINT NOT NULL,
    signed_us  BIGINT NOT NULL
);

CREATE TABLE chain_checkpoints (
    chain     TEXT NOT NULL,
    seq       BIGINT NOT NULL,
    hash      BYTES NOT NULL,
    at_us     BIGINT NOT NULL,
    key_id    TEXT NOT NULL,
    signature BYTES NOT NULL,
    -- 1: the records up to this one were pruned
    pruned    BIGINT NOT NULL,
    PRIMARY KEY (chain, seq)
);

-- Public halves of the keys that signed checkpoints, one or more for each node.
CREATE TABLE signing_keys (
    key_id      TEXT PRIMARY KEY,
    public_key  BYTES NOT NULL,
    node_id     TEXT NOT NULL,
    added_at_us BIGINT NOT NULL
);
