-- What was seen of connections, for the doctor.

-- account: its name; empty: nobody was named who is there
-- network: an address, of IPv6 its /64
-- protocol: empty: none was spoken
-- refuted_by: the good sign that says that this is not so; none of good ones
-- known: 1: the address is a partner's, 0: a stranger's, whose rows are few
-- good_times, good_at_us: how often the opposite was seen since first_at_us, and when last
-- detail: parts of the passive range, texts; JSON of bounded size
CREATE TABLE connection_signs (
    account TEXT NOT NULL,
    network TEXT NOT NULL,
    protocol TEXT NOT NULL,
    sign TEXT NOT NULL,
    refuted_by TEXT,
    known BIGINT NOT NULL,
    times BIGINT NOT NULL,
    first_at_us BIGINT NOT NULL,
    last_at_us BIGINT NOT NULL,
    good_times BIGINT NOT NULL,
    good_at_us BIGINT,
    node TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (account, network, protocol, sign)
) KEYONLY;
CREATE INDEX connection_signs_age ON connection_signs (account, known, last_at_us);
