"""Stack files for the command's tests."""

HASH = (
    "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$c2l4dGVlbiBvY3RldHMh"
    "$aGFsZiBhIGRvemVuIG9jdGV0cywgYW5kIHR3ZW50eSA"
)

SOUND = f"""
config:
  aws:region: us-east-1
  postal-plexus:domains:
    - example.org
    - name: bücher.example
      catch-all: ann+rest@example.org
  postal-plexus:mailboxes:
    - address: ann@example.org
      password-hash: "{HASH}"
    - address: ben@bücher.example
      password-hash: {{secure: v1:abc}}
  postal-plexus:aliases:
    - address: info@example.org
      destinations: [ann@example.org, ben@bücher.example, zoe@example.com]
"""

WRONG = """
config:
  aws:region: us-east-1
  postal-plexus:domains: [example.org]
  postal-plexus:mailbox: []
  postal-plexus:mailboxes:
    - address: ann@example.org
      password-hash: hunter2
"""
