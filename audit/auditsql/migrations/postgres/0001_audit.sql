-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_audit (
	tenant    text COLLATE "C" NOT NULL,
	seq       bigint NOT NULL,
	actor_id  text COLLATE "C" NOT NULL,
	target_id text COLLATE "C" NOT NULL,
	body      text NOT NULL,
	version   bigint NOT NULL DEFAULT 1,
	PRIMARY KEY (tenant, seq)
);
CREATE INDEX IF NOT EXISTS authkit_audit_actor ON authkit_audit (tenant, actor_id, seq);
CREATE INDEX IF NOT EXISTS authkit_audit_target ON authkit_audit (tenant, target_id, seq);
