# One image for every process; compose.yaml shows the commands.
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
COPY requirements/tools.lock requirements/base.lock ./
RUN pip install --no-cache-dir --require-hashes --requirement tools.lock \
    && uv venv /venv \
    && uv pip sync --no-cache --python /venv/bin/python --require-hashes --compile-bytecode base.lock

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --create-home --home-dir /data switchyard
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PRODUCTION=true \
    DATA_DIR=/data \
    HOST=0.0.0.0 \
    PORT=3000
WORKDIR /app
COPY --from=build /venv /venv
COPY manage.py ./
COPY config config
COPY accounts accounts
COPY fallback fallback
COPY templates templates
COPY static static
USER switchyard
# The values serve this one step: collecting static files needs settings, and keeps none of them.
RUN SECRET_KEY="$(python -c 'import secrets; print(secrets.token_urlsafe(50))')" ALLOWED_HOSTS=build \
    ENCRYPTION_KEYS="$(PRODUCTION=false SECRET_KEY=build python manage.py encryption_key)" \
    python manage.py collectstatic --noinput --verbosity 0
EXPOSE 3000
CMD ["daphne", "--verbosity", "0", "--bind", "0.0.0.0", "--port", "3000", "config.asgi:application"]
