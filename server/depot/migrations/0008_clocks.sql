-- What each server last knew of its machine's clock (retention/timekeeper.rs), so
-- that a clock that was set while it did not run is noticed.
CREATE TABLE node_clocks (
    node_id       TEXT PRIMARY KEY,
    -- by the time that was believed
    at_us         BIGINT NOT NULL,
    -- the wall clock is ahead of the database's by this much; none: not compared
    ahead_us      BIGINT,
    record        TEXT NOT NULL,
    -- an operator's word that the wall clock is right, until the server has heard it
    confirmed_by  TEXT,
    confirmed_why TEXT
);
