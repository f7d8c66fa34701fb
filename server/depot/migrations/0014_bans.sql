-- Who has failed to log in too often.

-- network: one address, or the /64 of one of IPv6: what one party has to choose among
-- score_milli: thousandths of a point, as of at_us; it shrinks with time
CREATE TABLE offenders (
    network TEXT PRIMARY KEY,
    score_milli BIGINT NOT NULL,
    at_us BIGINT NOT NULL
) KEYONLY;
CREATE INDEX offenders_age ON offenders (at_us);

-- owner: the operator who made it; none: the score did
-- until_us: none: until somebody lifts it
CREATE TABLE bans (
    network TEXT PRIMARY KEY,
    owner TEXT,
    reason TEXT NOT NULL,
    since_us BIGINT NOT NULL,
    until_us BIGINT
) KEYONLY;
CREATE INDEX bans_end ON bans (until_us);
