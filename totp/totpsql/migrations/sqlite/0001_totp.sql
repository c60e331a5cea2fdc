-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_totp_factors (
	tenant         text NOT NULL,
	user_id        text NOT NULL,
	secret         blob NOT NULL,
	enrolled_at    integer NOT NULL,
	last_step      integer NOT NULL,
	failures       integer NOT NULL,
	total_failures integer NOT NULL,
	pending        blob NOT NULL,
	pending_at     integer NOT NULL,
	PRIMARY KEY (tenant, user_id)
);
CREATE TABLE IF NOT EXISTS authkit_totp_codes (
	tenant     text NOT NULL,
	user_id    text NOT NULL,
	hash       blob NOT NULL,
	created_at integer NOT NULL,
	PRIMARY KEY (tenant, user_id, hash)
);
