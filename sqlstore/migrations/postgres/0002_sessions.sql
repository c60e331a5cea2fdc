-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_sessions (
	tenant       text COLLATE "C" NOT NULL,
	id           text COLLATE "C" NOT NULL,
	user_id      text COLLATE "C" NOT NULL,
	device       text NOT NULL,
	address      text NOT NULL,
	created_at   bigint NOT NULL,
	last_used_at bigint NOT NULL,
	expires_at   bigint NOT NULL,
	ends_at      bigint NOT NULL,
	token_hash   bytea NOT NULL,
	parent_hash  bytea NOT NULL,
	rotated_at   bigint NOT NULL,
	successor    bytea NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE INDEX IF NOT EXISTS authkit_sessions_user ON authkit_sessions (tenant, user_id);
CREATE INDEX IF NOT EXISTS authkit_sessions_expiry ON authkit_sessions (tenant, expires_at);
CREATE TABLE IF NOT EXISTS authkit_session_owners (
	tenant  text COLLATE "C" NOT NULL,
	user_id text COLLATE "C" NOT NULL,
	version bigint NOT NULL,
	PRIMARY KEY (tenant, user_id)
);
CREATE TABLE IF NOT EXISTS authkit_revocations (
	seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	tenant     text COLLATE "C" NOT NULL,
	revoked_at bigint NOT NULL,
	user_id    text COLLATE "C" NOT NULL,
	session_id text COLLATE "C" NOT NULL
);
CREATE INDEX IF NOT EXISTS authkit_revocations_time ON authkit_revocations (tenant, revoked_at);
