-- +goose Up
CREATE TABLE IF NOT EXISTS authkit_passkey_users (
	tenant  varbinary(64) NOT NULL,
	user_id varbinary(255) NOT NULL,
	handle  varbinary(64) NOT NULL,
	changes bigint NOT NULL,
	PRIMARY KEY (tenant, user_id)
) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS authkit_passkeys (
	tenant          varbinary(64) NOT NULL,
	id              varbinary(255) NOT NULL,
	user_id         varbinary(255) NOT NULL,
	name            text CHARACTER SET utf8mb4 NOT NULL,
	aaguid          varbinary(36) NOT NULL,
	transports      text CHARACTER SET utf8mb4 NOT NULL,
	backup_eligible smallint NOT NULL,
	backed_up       smallint NOT NULL,
	created_at      bigint NOT NULL,
	last_used_at    bigint NOT NULL,
	credential_id   varbinary(1023) NOT NULL,
	public_key      blob NOT NULL,
	user_handle     varbinary(64) NOT NULL,
	attestation     varbinary(64) NOT NULL,
	user_verified   smallint NOT NULL,
	sign_count      bigint NOT NULL,
	version         bigint NOT NULL,
	PRIMARY KEY (tenant, id),
	KEY authkit_passkeys_user (tenant, user_id)
) ENGINE = InnoDB;
