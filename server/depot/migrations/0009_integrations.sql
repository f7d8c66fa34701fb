-- Partners' own servers, and how we come there.

-- protocol: ftps | sftp | ftp
-- port: none is what the protocol and its mode have by default
-- settings: {"version": 1, "settings": {...}}, nothing secret (integration/settings.rs)
-- learned: what connections taught us
-- version: counts changes; a change is made to the version that was looked at
CREATE TABLE integrations (
    id            BIGIDENTITY,
    name          TEXT NOT NULL,
    display_name  TEXT NOT NULL,
    entity_id     BIGINT NOT NULL REFERENCES entities (id),
    protocol      TEXT NOT NULL,
    host          TEXT NOT NULL,
    port          BIGINT,
    username      TEXT NOT NULL,
    settings      TEXT NOT NULL,
    learned       TEXT NOT NULL,
    version       BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL,
    removed_at_us BIGINT
);
CREATE UNIQUE INDEX integrations_live_name ON integrations (name) WHERE removed_at_us IS NULL;

-- What proves who we are: a reference, or a value that is sealed with a master
-- key (envelope.rs), bound to its handle and purpose.
-- slot: current | previous
-- public: the public half of a key, or a fingerprint
CREATE TABLE integration_secrets (
    handle          TEXT PRIMARY KEY,
    integration_id  BIGINT NOT NULL REFERENCES integrations (id),
    purpose         TEXT NOT NULL,
    slot            TEXT NOT NULL,
    reference       TEXT,
    sealed          BYTES,
    key_id          TEXT,
    public_part     TEXT,
    created_at_us   BIGINT NOT NULL,
    confirmed_at_us BIGINT
);
CREATE UNIQUE INDEX integration_secrets_slot
    ON integration_secrets (integration_id, purpose, slot);

-- Host keys of SFTP servers. One that was only seen is not trusted.
CREATE TABLE integration_host_keys (
    integration_id  BIGINT NOT NULL REFERENCES integrations (id),
    fingerprint     TEXT NOT NULL,
    -- as in known_hosts; none where only the fingerprint was given
    public_key      TEXT,
    seen_at_us      BIGINT NOT NULL,
    confirmed_at_us BIGINT,
    confirmed_by    TEXT,
    PRIMARY KEY (integration_id, fingerprint)
);

-- Folders on partners' servers. direction: download | upload | both
CREATE TABLE locations (
    integration_id BIGINT NOT NULL REFERENCES integrations (id),
    name           TEXT NOT NULL,
    path           BYTES NOT NULL,
    direction      TEXT NOT NULL,
    created_at_us  BIGINT NOT NULL,
    PRIMARY KEY (integration_id, name)
);

-- Flows as they were applied, for the version that runs them.
CREATE TABLE flow_definitions (
    name         TEXT PRIMARY KEY,
    definition   TEXT NOT NULL,
    set_at_us    BIGINT NOT NULL
);
