-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_passkey_users (
	tenant  text COLLATE "C" NOT NULL,
	user_id text COLLATE "C" NOT NULL,
	handle  bytea NOT NULL,
	changes bigint NOT NULL,
	PRIMARY KEY (tenant, user_id)
);
CREATE TABLE IF NOT EXISTS authkit_passkeys (
	tenant          text COLLATE "C" NOT NULL,
	id              text COLLATE "C" NOT NULL,
	user_id         text COLLATE "C" NOT NULL,
	name            text NOT NULL,
	aaguid          text NOT NULL,
	transports      text NOT NULL,
	backup_eligible smallint NOT NULL,
	backed_up       smallint NOT NULL,
	created_at      bigint NOT NULL,
	last_used_at    bigint NOT NULL,
	credential_id   bytea NOT NULL,
	public_key      bytea NOT NULL,
	user_handle     bytea NOT NULL,
	attestation     text NOT NULL,
	user_verified   smallint NOT NULL,
	sign_count      bigint NOT NULL,
	version         bigint NOT NULL,
	PRIMARY KEY (tenant, id)
);
CREATE INDEX IF NOT EXISTS authkit_passkeys_user ON authkit_passkeys (tenant, user_id);
