-- The key that this server signs with, where its secret is in a file and not here: by these the server notices that the file
-- is gone, or holds another key. NULL until it has started once, and where the secret is in signing_key.
ALTER TABLE server ADD COLUMN public_key_id TEXT;
ALTER TABLE server ADD COLUMN public_key {bytes};
