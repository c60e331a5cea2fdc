-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_passkey_users (
	tenant  text NOT NULL,
	user_id text NOT NULL,
	handle  blob NOT NULL,
	changes integer NOT NULL,
	PRIMARY KEY (tenant, user_id)
);
CREATE TABLE IF NOT EXISTS authkit_passkeys (
	tenant          text NOT NULL,
	id              text NOT NULL,
	user_id         text NOT NULL,
	name            text NOT NULL,
	aaguid          text NOT NULL,
	transports      text NOT NULL,
	backup_eligible integer NOT NULL,
	backed_up       integer NOT NULL,
	created_at      integer NOT NULL,
	last_used_at    integer NOT NULL,
	credential_id   blob NOT NULL,
	public_key      blob NOT NULL,
	user_handle     blob NOT NULL,
	attestation     text NOT NULL,
	user_verified   integer NOT NULL,
	sign_count      integer NOT NULL,
	version         integer NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE INDEX IF NOT EXISTS authkit_passkeys_user ON authkit_passkeys (tenant, user_id);
