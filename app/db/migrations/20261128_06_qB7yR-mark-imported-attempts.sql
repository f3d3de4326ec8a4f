-- the attempts of imported signals are marked
-- depends: 20261128_05_iM4pT-imported-attempts

-- migrate: apply

-- Locks no row that a delivery writes: an imported signal is never delivered.
UPDATE attempts a SET imported = true
FROM signals s
WHERE s.id = a.signal_id AND s.imported_at IS NOT NULL AND NOT a.imported;

-- migrate: rollback

UPDATE attempts SET imported = false WHERE imported;
