"""A mail server: aiosmtpd, told what it answers."""
import email
import email.policy
import time

import programs
from sipp import free_port
from waiting import until


class MailServer:
    """`refuses`: what RCPT is answered. `context`: TLS; with STARTTLS, or from the first byte with `at_once`. `account`: (user, password) that must be given."""

    def __init__(self, port=None, *, refuses=None, context=None, at_once=False, account=None):
        controller, smtp = programs.mail_server()
        self.letters, self.refuses, self.accounts = [], refuses, []
        self.port = port or free_port("127.0.0.1")

        def authenticate(server, session, envelope, mechanism, data):
            self.accounts.append((data.login.decode(), data.password.decode()))
            is_right = self.accounts[-1] == account
            return smtp.AuthResult(success=is_right, handled=is_right)      # a wrong one is told 535

        keys = {}
        if account:
            keys = dict(authenticator=authenticate, auth_required=True, auth_require_tls=not at_once)
        if context and not at_once:
            keys.update(tls_context=context, require_starttls=True)
        self._controller = controller.Controller(self, hostname="127.0.0.1", port=self.port, ssl_context=context if at_once else None, **keys)
        self._controller.start()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.refuses:
            return self.refuses
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        letter.envelope_from, letter.envelope_to = envelope.mail_from, envelope.rcpt_tos
        self.letters.append(letter)
        return "250 taken"

    def wait(self, count=1, timeout=15):
        until(lambda: len(self.letters) >= count, timeout, lambda: f"{count} letters, got {len(self.letters)}", 0.1)
        return self.letters[count - 1]

    def close(self):
        self._controller.stop()
