// Segments a folder of images in parts that run at the same time:
//   nextflow run main.nf --images $PWD/cases --out $PWD/results --profile_name "Local demo" --prompt "liver & spleen"
// Parts that were interrupted go on where they were; what is done is not sent again.
params.images = "cases"
params.out = "results"
params.parts = 2
params.model = "medimageparse3d"
params.prompt = "liver & spleen"
params.profile_name = "Local demo"

process PART {
    errorStrategy 'retry'
    maxRetries 2

    input:
    val part

    output:
    val part

    // Exit status 4: some cases of the part failed, and batch.jsonl says which; the others are done.
    script:
    """
    medimageparse batch '${params.images}' --model ${params.model} --prompt '${params.prompt}' --profile '${params.profile_name}' \\
        --output-dir '${params.out}' --shard ${part}/${params.parts} --quiet || [ \$? -eq 4 ]
    """
}

process WHOLE {
    input:
    val parts

    output:
    stdout

    script:
    """
    medimageparse batch '${params.images}' --model ${params.model} --prompt '${params.prompt}' --profile '${params.profile_name}' \\
        --output-dir '${params.out}' --quiet
    """
}

workflow {
    PART(Channel.of(1..params.parts)) | collect | WHOLE | view
}
