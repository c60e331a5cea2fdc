-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_sessions (
	tenant       text NOT NULL,
	id           text NOT NULL,
	user_id      text NOT NULL,
	device       text NOT NULL,
	address      text NOT NULL,
	created_at   integer NOT NULL,
	last_used_at integer NOT NULL,
	expires_at   integer NOT NULL,
	ends_at      integer NOT NULL,
	token_hash   blob NOT NULL,
	parent_hash  blob NOT NULL,
	rotated_at   integer NOT NULL,
	successor    blob NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE INDEX IF NOT EXISTS authkit_sessions_user ON authkit_sessions (tenant, user_id);
CREATE INDEX IF NOT EXISTS authkit_sessions_expiry ON authkit_sessions (tenant, expires_at);
CREATE TABLE IF NOT EXISTS authkit_session_owners (
	tenant  text NOT NULL,
	user_id text NOT NULL,
	version integer NOT NULL,
	PRIMARY KEY (tenant, user_id)
);
CREATE TABLE IF NOT EXISTS authkit_revocations (
	seq        integer PRIMARY KEY,
	tenant     text NOT NULL,
	revoked_at integer NOT NULL,
	user_id    text NOT NULL,
	session_id text NOT NULL
);
CREATE INDEX IF NOT EXISTS authkit_revocations_time ON authkit_revocations (tenant, revoked_at);
