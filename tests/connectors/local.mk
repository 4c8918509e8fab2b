# Tests of connectors/.
