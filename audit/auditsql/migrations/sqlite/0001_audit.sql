-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_audit (
	tenant    text NOT NULL,
	seq       integer NOT NULL,
	actor_id  text NOT NULL,
	target_id text NOT NULL,
	body      text NOT NULL,
	version   integer NOT NULL DEFAULT 1,
	PRIMARY KEY (tenant, seq)
);
CREATE INDEX IF NOT EXISTS authkit_audit_actor ON authkit_audit (tenant, actor_id, seq);
CREATE INDEX IF NOT EXISTS authkit_audit_target ON authkit_audit (tenant, target_id, seq);
