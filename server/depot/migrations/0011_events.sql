-- What hooks may be told of, and who is due.

-- authorities: PEM; who may have signed the receiver's certificate; none: the system's
-- allow_plain: http is allowed to more than this machine
-- allow_address: also to addresses that are refused otherwise (link-local, metadata)
ALTER TABLE hooks ADD COLUMN authorities TEXT;
ALTER TABLE hooks ADD COLUMN allow_plain BIGINT NOT NULL DEFAULT 0;
ALTER TABLE hooks ADD COLUMN allow_address BIGINT NOT NULL DEFAULT 0;

-- Whose turn it is at a hook, and the deliveries of an event that is forgotten.
CREATE INDEX deliveries_turn ON deliveries (hook_id, event_id) WHERE state = 'due';
CREATE INDEX deliveries_event ON deliveries (event_id);
CREATE INDEX deliveries_given_up ON deliveries (hook_id, event_id) WHERE state = 'dead';

-- How often a login was refused of late.
CREATE INDEX journal_refused ON journal (account, at_us) WHERE action = 'login' AND outcome = 'refused';

-- state: waiting (for a checksum, or a server that does not answer) | missing (it may
-- still come) | done
-- modified_us: of a file on a partner's server, which has no checksum
ALTER TABLE expectation_days ADD COLUMN state TEXT NOT NULL DEFAULT 'done';
ALTER TABLE expectation_days ADD COLUMN modified_us BIGINT;
CREATE INDEX expectation_days_open ON expectation_days (state, expectation, day) WHERE state <> 'done';
