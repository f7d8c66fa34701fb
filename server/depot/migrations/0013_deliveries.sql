-- What waits for a hook costs nothing before its turn.

-- is_head: of a hook and subject, the one delivery that is given out; the others that are
-- due wait behind it. Whoever writes it, but for the migration, holds the hook's row.
-- folded: events before its own that are told with it
ALTER TABLE deliveries ADD COLUMN is_head BIGINT NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN folded BIGINT NOT NULL DEFAULT 0;
UPDATE deliveries SET is_head = 1 WHERE state = 'due' AND (hook_id, event_id) IN
    (SELECT hook_id, MIN(event_id) FROM deliveries WHERE state = 'due'
     GROUP BY hook_id, subject);
CREATE UNIQUE INDEX deliveries_head ON deliveries (hook_id, subject) WHERE is_head = 1;
-- Whose turn it is at a hook.
DROP INDEX deliveries_turn;
CREATE INDEX deliveries_turn ON deliveries (hook_id, not_before_us, event_id) WHERE is_head = 1;
-- Whose time is over.
CREATE INDEX deliveries_overdue ON deliveries (hook_id, give_up_at_us) WHERE state = 'due';
-- What is shown, a page at a time.
DROP INDEX deliveries_due;
DROP INDEX deliveries_dead;
CREATE INDEX deliveries_due ON deliveries (event_id, id) WHERE state = 'due';
CREATE INDEX deliveries_dead ON deliveries (event_id, id) WHERE state = 'dead';

-- When refused logins of an account were told last.
CREATE INDEX events_refused ON events (subject, at_us) WHERE kind = 'login.refused';
