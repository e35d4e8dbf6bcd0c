"""The checklist: whether a network is robust, or only hides its gradients."""
