"""Examples for the OpenAPI document."""

from __future__ import annotations

from timmy.web.operations import Document

ID = "job_jqxw2zlp5v3k7m4t6r2yq5hs4a"
HASH = "9b1d6f0a7c3e52848d5f60b1a2937ce4105fd8b6e07943a2c1d85f6e7b90a3c4"
TOKEN = "tmy1.7e7e9c42….1767830400000.q83vEjRWeJ…"
INVOICE: Document = {"paymentRequest": "lnbcrt100n1p…", "paymentHash": HASH, "amountSats": 10, "expiresAt": "2026-01-01T00:10:00.000Z"}
CREATED: Document = {
    "jobId": ID,
    "state": "awaiting_eval_payment",
    "createdAt": "2026-01-01T00:00:00.000Z",
    "trust_tier": "anonymous",
    "evalInvoice": INVOICE,
}
COMPLETE: Document = {
    **CREATED,
    "state": "complete",
    "request": "Write a haiku about rain.",
    "completedAt": "2026-01-01T00:02:00.000Z",
    "workInvoice": {**INVOICE, "amountSats": 21},
    "pricingBreakdown": {
        "estimatedCostUsd": 0.015,
        "infraCostUsd": 0.001,
        "marginPct": 40,
        "btcPriceUsd": 100000,
        "btcPriceSource": "median of 5",
        "model": "claude-sonnet-4-6",
        "estimatedInputTokens": 120,
        "estimatedOutputTokens": 900,
        "amountSats": 21,
    },
    "reason": None,
    "waiting": None,
    "result": "Rain on the tin roof…",
    "truncated": False,
    "costLedger": {
        "actualInputTokens": 118,
        "actualOutputTokens": 420,
        "totalTokens": 538,
        "usageEstimated": False,
        "actualCostUsd": 0.0076,
        "actualAmountSats": 11,
        "workAmountSats": 21,
        "refundAmountSats": 10,
        "refundState": "pending",
    },
    "refund": {"state": "pending", "owedSats": 10, "paidSats": 0, "creditMsat": 360, "destination": None, "trouble": None},
    "refundTo": None,
    "free_tier": False,
    "absorbed_sats": 0,
    "subsidyShortfallSats": 0,
}

KEY = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e"
NPUB = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg"
NONCE = "5f0b1c7e9d2a4836b1c0e4d7f8a90213c4b5d6e7f8091a2b3c4d5e6f70819203"
EVENT: Document = {
    "id": "0c2f168eb1be1a2a1a0d2bb6b2e0c6b7a1f3a5b4d6e7c8091a2b3c4d5e6f7081",
    "pubkey": KEY,
    "created_at": 1767225600,
    "kind": 22242,
    "tags": [["relay", "https://timmy.example"], ["challenge", NONCE]],
    "content": "",
    "sig": "5a" * 64,
}
CHALLENGE: Document = {"nonce": NONCE, "expiresAt": "2026-01-01T00:05:00.000Z"}
LOGIN: Document = {
    "nostr_token": TOKEN,
    "pubkey": KEY,
    "npub": NPUB,
    "trust_tier": "established",
    "expiresAt": "2026-01-08T00:00:00.000Z",
}
ME: Document = {
    "pubkey": KEY,
    "npub": NPUB,
    "trust_tier": "established",
    "score": 12,
    "why": [{"why": "work_paid", "change": 2, "score": 12, "at": "2025-12-31T18:00:00.000Z"}],
    "decay": {
        "afterDays": 30,
        "perDay": 1,
        "lost": 0,
        "explained": "After 30 days without work a score loses 1 a day, until there is work again. Yours has lost nothing.",
    },
    "nextTier": {"tier": "trusted", "score": 50, "missing": 38},
    "today": {"day": "2026-01-01", "budgetSats": 50, "leftSats": 29},
    "successes": 7,
    "setbacks": 2,
    "paidSats": 143,
    "firstSeenAt": "2025-12-01T09:00:00.000Z",
}
BUDGETS: Document = {"new": 0, "established": 50, "trusted": 200, "elite": 1000}
POOL: Document = {
    "balanceSats": 9979,
    "availableSats": 9958,
    "reservedSats": 21,
    "earnedSats": 14,
    "givenSats": 35,
    "dailyBudgets": BUDGETS,
    "byTier": {"established": {"times": 3, "givenSats": 35}},
    "today": {"givenSats": 11, "byTier": {"established": {"times": 1, "givenSats": 11}}},
    "whyNot": [{"code": "anonymous", "why": "the pool helps people it knows: log in with a Nostr key"}],
}
ESTIMATE: Document = {
    "estimatedSats": 21,
    "evalFeeSats": 10,
    "estimatedCostUsd": 0.015,
    "btcPriceUsd": 100000,
    "btcPriceSource": "median of 5",
    "tokenEstimate": {"input": 120, "output": 900},
    "pricingBreakdown": COMPLETE["pricingBreakdown"],
    "identity": {
        "trust_tier": "established",
        "free_tier": {"serve": "free", "absorbSats": 21, "chargeSats": 0, "why": None},
    },
    "pool": {"balanceSats": 9979, "availableSats": 9958, "dailyBudgets": BUDGETS},
}

SESSION_ID = "ses_jqxw2zlp5v3k7m4t6r2yq5hs4a"
SESSION_OPENED: Document = {
    "sessionId": SESSION_ID,
    "state": "awaiting_payment",
    "createdAt": "2026-01-01T00:00:00.000Z",
    "invoice": {**INVOICE, "amountSats": 500},
    "trust_tier": "anonymous",
}
SESSION: Document = {
    **SESSION_OPENED,
    "state": "active",
    "expiresAt": "2026-01-31T00:02:00.000Z",
    "closedAt": None,
    "balanceSats": 489,
    "balanceMsat": 489360,
    "heldMsat": 0,
    "minimumBalanceSats": 20,
    "pendingTopup": None,
    "refund": {"state": "not_applicable", "owedSats": 0, "paidSats": 0, "destination": None, "trouble": None},
    "macaroon": "AgEFdGltbXkCQgAA…",
}
SESSION_REQUEST: Document = {
    "requestId": "req_jqxw2zlp5v3k7m4t6r2yq5hs4a",
    "state": "complete",
    "startedAt": "2026-01-01T00:01:58.000Z",
    "endedAt": "2026-01-01T00:02:00.000Z",
    "result": "Rain on the tin roof…",
    "truncated": False,
    "reason": None,
    "debitedSats": 11,
    "debitedMsat": 10640,
    "balanceRemaining": 489,
    "balanceRemainingMsat": 489360,
    "cost": {
        "evalModel": "claude-haiku-4-5",
        "workModel": "claude-sonnet-4-6",
        "inputTokens": 330,
        "outputTokens": 440,
        "usageEstimated": False,
        "actualCostUsd": 0.0076,
        "marginPct": 40,
        "btcPriceUsd": 100000,
        "btcPriceSource": "median of 5",
        "chargedMsat": 10640,
        "reservedMsat": 29400,
    },
    "free_tier": False,
    "absorbed_sats": 0,
    "absorbedMsat": 0,
}
