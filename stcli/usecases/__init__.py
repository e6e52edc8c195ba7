"""What an operator can ask for: orchestration over gateways and the state; no SQL, HTTP or Rich."""
